# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# %% [markdown]
# # The chunk algorithm
#
# A GPU does not go token by token. It cuts the sequence into chunks of 64 and turns the work into matrix products, without ever
# forming $H_t$ inside a chunk. This is lesson 5 of [experiments](../README.md), for the keyboard.

# %%
import numpy as np
import matplotlib.pyplot as plt

import gka

# %% [markdown]
# Within a chunk that begins with the state $H_0$, and without a gate, $H_t = H_0 + \sum_{s \le t} k_s k_s^T$. An iteration needs
# $H_t x_t$ for all its tokens: with rows $x_t$ in $X$ and $k_t$ in $K$ that is $X H_0 + (\mathrm{tril}(X K^T)) K$. Two things of
# size $C \times D$, instead of $C$ matrices.

# %%
rng = np.random.default_rng(0)
C, D = 16, 8
H0 = np.cov(rng.standard_normal((D, 50)))
K, X = rng.standard_normal((C, D)), rng.standard_normal((C, D))
slow = np.array([(H0 + K[:t + 1].T @ K[:t + 1]) @ X[t] for t in range(C)])
fast = X @ H0 + np.tril(X @ K.T) @ K
print(abs(slow - fast).max())
assert np.allclose(slow, fast)

# %% [markdown]
# A gate puts $e^{G_t - G_s}$ into the triangle, $G$ the running sum of $g$ in the chunk, and $e^{G_t}$ before $X H_0$. Even the norm
# $\|H_t\|_F$, which the ridge needs, can be had without $H_t$:
# $\|H_t\|^2 = \gamma^2 \|H_{t-1}\|^2 + 2 \gamma\, k_t^T H_{t-1} k_t + \|k_t\|^4$.

# %%
g = -rng.uniform(0, .2, C)
G = np.cumsum(g)
H, states = H0, []
for t in range(C):
    H = np.exp(g[t]) * H + np.outer(K[t], K[t])
    states.append(H)
slow = np.array([states[t] @ X[t] for t in range(C)])
decay = np.tril(np.exp(np.minimum(G[:, None] - G[None, :], 0)))
fast = np.exp(G)[:, None] * (X @ H0) + (decay * (X @ K.T)) @ K
assert np.allclose(slow, fast)
square, before = [], H0
for t in range(C):
    gamma = np.exp(g[t])
    square.append(gamma ** 2 * np.sum(before ** 2) + 2 * gamma * K[t] @ before @ K[t] + np.sum(K[t] ** 2) ** 2)
    before = states[t]
assert np.allclose(np.sqrt(square), [np.linalg.norm(one) for one in states])

# %% [markdown]
# So the chunk algorithm is exact in real numbers: the library's `exact64`, the chunks in binary64, agrees with the certified answer.

# %%
p = gka.problem(T=192, D=32, V=32, gate="released", chunk=32)
exact = gka.exact(p)
chunks = gka.emulate("exact64/num_iter=200", p, stored=False)
for name in ("x", "o"):
    print(f"{name}: {gka.compare(chunks[name], exact[name]).rel_err:.1e}")

# %% [markdown]
# On an H100 the operands of each product are rounded to bfloat16. Where? Each such place has a name.

# %%
for name, what in gka.points.items():
    print(f"{name:16} {what}")

# %% [markdown]
# Each can be switched on alone. That is an attribution: which rounding makes the error of which output?

# %%
outputs = ["x", "fro", "o"]
blame = gka.attribute(p, outputs=outputs)
names = sorted(gka.points, key=lambda name: -np.nan_to_num(blame["o"]["only"][name]))[:8]
place = np.arange(len(names))
for i, output in enumerate(outputs):
    plt.barh(place + .25 * i, [blame[output]["only"][name] for name in names], .25, label=output)
plt.yticks(place + .25, names)
plt.xscale("log")
plt.xlim(1e-6, 1e-1)
plt.xlabel("error of this rounding alone")
plt.legend()
plt.tight_layout()
plt.show()
print({name: blame.blame(name) for name in outputs})

# %% [markdown]
# How does the error depend on the length of a chunk? The same problem, cut differently:

# %%
for kernel in ("h100", "h100/two-term"):
    errors = []
    for C in (16, 32, 64):
        h100 = gka.emulate(kernel, p, chunk_size=C)
        errors.append(gka.compare(h100.o, exact.o).rel_err)
    plt.plot((16, 32, 64), errors, marker="o", label=kernel)
plt.xlabel("chunk size")
plt.ylabel("error of o")
plt.ylim(0)
plt.legend()
plt.show()

# %% [markdown]
# Hardly at all: the form of the iteration matters, the cut does not.
#
# What does it cost? A token takes $r (D^2 + 2 C D)$ multiply-adds for $r$ steps, whatever the length of the sequence. Softmax
# attention takes $2 D t$ at token $t$, $D T^2$ in all. Sequences of which length cost as much?

# %%
r, C, D = 30, 64, 128
layer = r * (D * D + 2 * C * D)
print(f"the layer's solve {layer:,} multiply-adds a token; attention as many in all at T = {layer / D:,.0f}")
lengths = np.array([512, 2048, 8192, 32768, 131072])
plt.loglog(lengths, layer * lengths, marker="o", label="the layer's solve")
plt.loglog(lengths, D * lengths ** 2.0, marker="o", label="softmax attention")
plt.xlabel("tokens")
plt.ylabel("multiply-adds of one head")
plt.legend()
plt.show()

# %% [markdown]
# [10_cost](../10_cost) counts the rest of the layer, too, and finds 8416.
#
# Exercises. (1) Write $U_t^T y_t$ of a chunk as matrix products, too. (2) Which chunk size makes the multiply-adds least, if
# matrices of 16 rows are as dear as one of 64? (3) Switch the norm's rounding off (`h100/norm_reduce=exact`) and attribute again.
