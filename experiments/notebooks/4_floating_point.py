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
# # Floating point in eight bits
#
# bfloat16 keeps eight bits of a number. What that does to one number, to a long sum and to a state that lives for thousands of
# tokens is lesson 3 of [experiments](../README.md), for the keyboard.

# %%
import numpy as np
import matplotlib.pyplot as plt

import gka

for name in ("fp32", "tf32", "fp16", "bf16", "e4m3", "e5m2"):
    f = gka.formats[name]
    print(f"{name:5} {f.p:2} bits, u = {f.unit_roundoff:.1e}, largest {f.max_finite:.1e}, smallest normal {f.min_normal:.1e}")

# %% [markdown]
# Two numbers say what a format is: its unit roundoff $u = 2^{-p}$, the largest relative error of rounding to nearest, and its
# range. bfloat16 has the range of fp32 and an eighth of the accuracy of fp16.

# %%
x = np.random.default_rng(0).uniform(1, 2, 2000)
for mode in ("nearest", "zero", "stochastic"):
    error = gka.round(x, "bf16", mode, seed=1) / x - 1
    print(f"{mode:10} largest error {abs(error).max():.1e}, mean {error.mean():+.1e}")

# %% [markdown]
# Rounding to nearest and stochastic rounding have no sign on the average; rounding towards zero has. In a sum this decides: an
# error without a sign grows like $\sqrt{n}$, one with a sign like $n$.


# %%
def running_sum(terms, format, mode):
    """Partial sums, each rounded, and their relative errors."""
    s, sums = 0.0, []
    for i, term in enumerate(terms):
        s = float(gka.round(s + term, format, mode, seed=2, first=i))
        sums.append(s)
    return abs(np.array(sums) / np.cumsum(terms) - 1)


terms = gka.round(np.random.default_rng(1).uniform(.5, 1.5, 1200), "bf16")
n = np.arange(1, len(terms) + 1)
for mode in ("nearest", "zero", "stochastic"):
    plt.loglog(n, running_sum(terms, "bf16", mode) + 1e-6, label=mode)
plt.loglog(n, gka.formats["bf16"].unit_roundoff * np.sqrt(n), color="black", linewidth=.5, label="u sqrt(n)")
plt.xlabel("terms")
plt.ylabel("relative error of a sum in bf16")
plt.legend()
plt.show()

# %% [markdown]
# To nearest the sum stops: at 256 a term of about one is half a unit in the last place and is rounded away. That is
# *stagnation*. Stochastic rounding goes on, and so does a wider accumulator: products of bf16 are therefore summed in fp32.

# %%
stuck = running_sum(terms, "bf16", "nearest")[-1]
going = running_sum(terms, "bf16", "stochastic")[-1]
wide = running_sum(terms, "fp32", "nearest")[-1]
print(f"after {len(terms)} terms: nearest {stuck:.2f}, stochastic {going:.3f}, fp32 {wide:.1e}")
assert stuck > .5 and going < .1 and wide < 1e-5

# %% [markdown]
# A state with a gate is such a sum, with forgetting: $S_t = \gamma S_{t-1} + s_t$. It remembers $1/(1 - \gamma)$ tokens, so it
# stagnates only if that is more than about $1/u$ = 256.


# %%
def state(gamma, format, T=1200):
    """The state against its exact value, after T tokens."""
    s = exact = 0.0
    for t in range(T):
        s = float(gka.round(gamma * s + terms[t], format))
        exact = gamma * exact + terms[t]
    return abs(s / exact - 1)


memories = (4, 16, 64, 256, 1024)
for format in ("bf16", "fp16"):
    plt.loglog(memories, [state(1 - 1 / m, format) + 1e-6 for m in memories], marker="o", label=format)
plt.xlabel("tokens that the gate remembers")
plt.ylabel("relative error of the state")
plt.legend()
plt.show()

# %% [markdown]
# Range against precision: fp16 has three bits more than bf16 and a far smaller range. Where the layer's numbers fit, it wins.
# Eight-bit formats have two or three bits; with one scale for 32 numbers (MX) their range is no concern, their precision is.

# %%
rows = np.random.default_rng(3).standard_normal((64, 64)) * np.exp2(np.random.default_rng(4).integers(-10, 10, (64, 1)))
for name in ("bf16", "fp16", "e4m3", "mxfp8-e4m3", "mxfp4"):
    if name in gka.formats or name in gka.block_formats:
        rounded = gka.round(rows, name)
        print(f"{name:11} {np.linalg.norm(rounded - rows) / np.linalg.norm(rows):.1e}, rows lost entirely: "
              f"{int(np.sum(~rounded.any(axis=1)))}")

# %% [markdown]
# And the layer? The same problem, computed token by token in several arithmetics. `acc32` sums in fp32 what the format
# multiplies.

# %%
p = gka.problem(T=96, D=32, V=32, gate="released", dtype="bf16")
exact = gka.exact(p)
errors = {}
for arithmetic in ("fp32", "bf16-acc32", "bf16", "fp16-acc32", "fp16"):
    errors[arithmetic] = gka.compare(gka.emulate("tokens/" + arithmetic, p, stored=False).o, exact.o).rel_err
    print(f"{arithmetic:11} error of o {errors[arithmetic]:.1e}")
assert errors["fp32"] < errors["bf16-acc32"] < errors["bf16"]

# %% [markdown]
# With its sums in bf16, too, o is lost. Where? Token by token:

# %%
all_bf16 = gka.emulate("tokens/bf16", p, stored=False)
off = np.linalg.norm(all_bf16.x - exact.x, axis=-1)[0, :, 0] / np.linalg.norm(exact.x, axis=-1)[0, :, 0]
share = gka.spectrum(p).largest[0, :, 0] / all_bf16.fro[0, :, 0]
print("error of x, tokens 0 to 5:", off[:6].round(2), "later at most", off[6:].max().round(2))
print("largest eigenvalue over the norm in bf16:", share[:6].round(3))
assert off[0] > 1 > off[6:].max() and share[0] > 1

# %% [markdown]
# At the first token $H = k k^T$ has one eigenvalue, its norm. The norm is the root of a sum of 1024 squares, which in bf16 comes out
# seven per cent too small; so the eigenvalue lies outside the interval for which the iteration was made, and it diverges. A short
# format needs a wide accumulator.

# %% [markdown]
# Exercises. (1) Below which $1 - \gamma$ does a state in bf16 never forget? Try $s_t = 0$ after the first token. (2) Sum the
# terms sorted, and pairwise: what do the errors become? (3) Which of the arithmetics above is stochastic rounding to be added to:
# `tokens/bf16/stochastic`?
