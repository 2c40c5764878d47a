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
# # Ridge regression as memory
#
# The layer stores pairs of a key $k$ and a value $v$ and answers a query $q$ with the value that belongs to it. This is lesson 1
# of [experiments](../README.md), for the keyboard. It needs the package `gka`, numpy and matplotlib.

# %%
import numpy as np
import matplotlib.pyplot as plt

import gka
import layer  # the layer in sixty lines of NumPy, beside this notebook

# %% [markdown]
# Two states keep everything: $H = \sum_t k_t k_t^T$ and $U = \sum_t k_t v_t^T$. Linear attention answers $U^T q$. If all keys are
# orthogonal that is the right value; if they are not, other values come along. Ridge regression answers
# $U^T (H + \lambda I)^{-1} q$, which takes the others' share away again.

# %%
rng = np.random.default_rng(0)
D, V, T = 32, 8, 24
k = rng.standard_normal((T, D))
k /= np.linalg.norm(k, axis=1, keepdims=True)
v = rng.standard_normal((T, V))
H, U = k.T @ k, k.T @ v
for lam in (1.0, .1, .01):
    linear = np.linalg.norm(k @ U - v) / np.linalg.norm(v)
    ridge = np.linalg.norm(k @ np.linalg.solve(H + lam * np.eye(D), U) - v) / np.linalg.norm(v)
    print(f"lambda {lam:5}: linear attention misses the values by {linear:.2f}, ridge regression by {ridge:.2f}")
assert ridge < .1 < linear

# %% [markdown]
# The layer takes $\lambda = a \|H\|_F$, so that the ridge grows with the state. Load matters: more pairs than dimensions do not
# fit. How well is a pair recalled when there are more and more?

# %%
loads = (4, 8, 16, 24, 32, 48, 64, 96)
for name, answer in (("linear attention", lambda H, U: U),
                     ("ridge, a = .02", lambda H, U: np.linalg.solve(H + .02 * np.linalg.norm(H) * np.eye(D), U)),
                     ("ridge, a = .2", lambda H, U: np.linalg.solve(H + .2 * np.linalg.norm(H) * np.eye(D), U))):
    right = []
    for n in loads:
        hits = 0
        for seed in range(10):
            draw = np.random.default_rng(seed)
            keys, values = draw.standard_normal((n, D)), draw.standard_normal((n, V))
            keys /= np.linalg.norm(keys, axis=1, keepdims=True)
            told = keys @ answer(keys.T @ keys, keys.T @ values)
            nearest = np.argmax(told @ values.T / np.linalg.norm(values, axis=1), axis=1)
            hits += np.mean(nearest == np.arange(n))
        right.append(hits / 10)
    plt.plot(loads, right, marker="o", label=name)
plt.axvline(D, color="black", linewidth=.5)
plt.xlabel("stored pairs (the line: as many as dimensions)")
plt.ylabel("share recalled")
plt.legend()
plt.show()

# %% [markdown]
# Now the layer itself, token by token. Without a gate every age weighs the same. Here are the formulas in NumPy, in binary64,
# beside the exact answer of the library, which is proven to the last bit.

# %%
p = gka.problem(T=48, D=16, V=8, gate="released", dtype="fp32")
one = {name: np.float64(value[0, :, 0]) for name, value in p.to("numpy").items() if name in ("q", "k", "v", "alpha", "g")}
x, o = layer.layer(layer.fp64, **one, steps=200)
exact = gka.exact(p)
for name, mine in ("x", x), ("o", o):
    error = np.linalg.norm(mine - exact[name][0, :, 0]) / np.linalg.norm(exact[name])
    print(f"{name}: {error:.1e}")
    assert error < 1e-12

# %% [markdown]
# A gate $\gamma_t = e^{g_t} \le 1$ multiplies both states before a token is added: the layer forgets. How much of the value of
# token $s$ is left in the answer at the end? We ask for it with its own key.


# %%
def recalled(gate, solve):
    """The share of value s in the answer to key s, by the age of s, over 20 draws; gamma is the same at all tokens."""
    shares = np.zeros(T)
    for seed in range(20):
        draw = np.random.default_rng(seed)
        keys, values = draw.standard_normal((T, D)), draw.standard_normal((T, V))
        keys /= np.linalg.norm(keys, axis=1, keepdims=True)
        weight = gate ** np.arange(T - 1, -1, -1)[:, None]
        H, U = (weight * keys).T @ keys, (weight * keys).T @ values
        told = keys @ (np.linalg.solve(H + .02 * np.linalg.norm(H) * np.eye(D), U) if solve else U)
        shares += np.sum(told * values, axis=1) / np.sum(values * values, axis=1) / 20
    return shares[::-1]


for gate in (1.0, .9):
    plt.plot(recalled(gate, True), label=f"ridge, gate {gate}")
    plt.plot(recalled(gate, False), linestyle="dashed", label=f"linear attention, gate {gate}")
plt.xlabel("age of the pair")
plt.ylabel("share of its value in the answer")
plt.legend()
plt.show()

# %% [markdown]
# Without a gate the curve of ridge regression is flat: least squares does not know in which order the pairs came. With a gate it
# falls, but later than linear attention's: a weight cancels in $(H + \lambda I)^{-1} U$ until it is as small as $\lambda$.

# %%
flat, falling = recalled(1.0, True), recalled(.9, True)
print(f"young half: {flat[:12].mean():.2f} without a gate, {falling[:12].mean():.2f} with; "
      f"old half: {flat[12:].mean():.2f} and {falling[12:].mean():.2f}")
assert abs(flat[:12].mean() - flat[12:].mean()) < .05 and falling[12:].mean() < falling[:12].mean() - .05

# %% [markdown]
# Exercises. (1) What does the ridge cost one single pair: by which factor is its answer too small? (2) Give all keys a common
# direction (`+ 2`) and draw the loads again. (3) The layer mixes: $q' = q + \alpha (x - q)$. Which model is $\alpha = 0$?
