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
# # Solvers
#
# $(H + \lambda I)\,x = q$ can be solved by a recursion over the tokens or by an iteration at each of them. In exact arithmetic
# all give the same; in bfloat16 they do not. This is lesson 4 of [experiments](../README.md), for the keyboard.

# %%
import inspect

import numpy as np
import matplotlib.pyplot as plt

import gka
import layer  # solvers to read and change, with the library's bits

# %% [markdown]
# Chebyshev iteration knows an interval that holds all eigenvalues, here $[\lambda, \lambda + \|H\|_F]$, and needs no inner
# product. Its three-term form is short:

# %%
print(inspect.getsource(layer.chebyshev))

# %% [markdown]
# We make a system as the layer meets it, with keys that share a direction, and ask how fast the iterations converge in binary64.

# %%
rng = np.random.default_rng(0)
K = rng.standard_normal((120, 32)) + 1.5 * rng.standard_normal(32)
K /= np.linalg.norm(K, axis=1, keepdims=True)
H, q = K.T @ K, rng.standard_normal(32)
f = np.linalg.norm(H)
lam = .02 * f
truth = np.linalg.solve(H + lam * np.eye(32), q)
print("condition number", np.linalg.cond(H + lam * np.eye(32)).round(1))


# %%
def error(x):
    return np.linalg.norm(x - truth) / np.linalg.norm(truth)


steps = np.arange(1, 61)
for name, solver in ("chebyshev", layer.chebyshev), ("two-term", layer.two_term):
    plt.semilogy(steps, [error(solver(layer.fp64, H, q, lam, f, r)) for r in steps], label=name)
plt.semilogy(steps, [error(layer.cg(layer.fp64, H, q, lam, f, r, u=2.0 ** -53)) for r in steps], label="cg")
plt.axvline(30, color="black", linewidth=.5)
plt.xlabel("steps (the kernels take 30)")
plt.ylabel("relative error of x, binary64")
plt.legend()
plt.show()

# %% [markdown]
# Both forms of Chebyshev are one polynomial and lie on one line. CG chooses its own polynomial, the best one for this system, and
# is faster. Now the same in bfloat16, each product and each sum rounded:

# %%
h, b = np.float32(gka.round(H, "bf16")), np.float32(gka.round(q, "bf16"))
size, ridge = np.float32(gka.round(f, "bf16")), np.float32(gka.round(lam, "bf16"))
floor = {}
for name, solver in ("chebyshev", layer.chebyshev), ("two-term", layer.two_term), ("cg", layer.cg):
    errors = [error(solver(layer.bf16, h, b, ridge, size, r)) for r in steps[::3]]
    plt.semilogy(steps[::3], errors, label=name)
    floor[name] = errors[-1]
plt.axhline(gka.formats["bf16"].unit_roundoff, color="black", linewidth=.5)
plt.xlabel("steps")
plt.ylabel("relative error of x, bf16")
plt.legend()
plt.show()
print({name: f"{value:.3f}" for name, value in floor.items()})

# %% [markdown]
# Every iteration stops at a floor above $u$ = .004. Where the floor lies depends on the form and on the sums: here everything is
# rounded, the sums of 32 products too. With sums in fp32, as a tensor core has them, it is lower:

# %%
for name in ("chebyshev", "chebyshev2", "cg"):
    for arithmetic in ("bf16", "bf16-acc32", "fp32"):
        solution = gka.solve(H, q, method=name, arithmetic=arithmetic, iterations=60)
        print(f"{name:11} {arithmetic:10} error {error(solution.x):.1e}, backward error {solution.eta:.1e}")

# %% [markdown]
# These are the library's solvers; `layer.py` has their bits, as a test holds. A recursion needs no iteration at all: the Kalman
# filter updates $\Phi = (H + \lambda I)^{-1}$ with each key.

# %%
print(inspect.getsource(layer.kalman))

# %%
k = K / 1.0
queries = rng.standard_normal(k.shape)
exact = np.array([np.linalg.solve(k[:t + 1].T @ k[:t + 1] + np.eye(32), queries[t]) for t in range(len(k))])
for form in ("kalman", "kalman-joseph", "kalman-potter", "kalman-ud"):
    for arithmetic in ("fp32", "bf16-acc32"):
        x = gka.kalman(k, queries, lam=1.0, form=form, arithmetic=arithmetic)
        off = np.linalg.norm(x - exact, axis=1) / np.linalg.norm(exact, axis=1)
        plt.semilogy(off, label=f"{form}, {arithmetic}", linestyle="solid" if arithmetic == "fp32" else "dashed")
plt.xlabel("token")
plt.ylabel("relative error of x")
plt.legend(fontsize=7)
plt.show()

# %% [markdown]
# A recursion adds each token's rounding to what came before. An iteration starts from $H$ anew. But the systems themselves become
# worse conditioned as keys come: so we look at the iteration at the same tokens.

# %%
x = gka.kalman(k, queries, lam=1.0, arithmetic="bf16-acc32")
off = np.linalg.norm(x - exact, axis=1) / np.linalg.norm(exact, axis=1)
for t in range(9, len(k), 22):
    y = gka.solve(k[:t + 1].T @ k[:t + 1], queries[t], lam=1.0, method="cg", arithmetic="bf16-acc32").x
    print(f"token {t:3}: kappa {np.linalg.cond(k[:t + 1].T @ k[:t + 1] + np.eye(32)):5.1f}, filter {off[t]:.4f}, "
          f"iteration {np.linalg.norm(y - exact[t]) / np.linalg.norm(exact[t]):.4f}")

# %% [markdown]
# As long as the condition number grows, both lose with it. In the end the filter's error is twice the iteration's: that half is what it
# has carried along.
#
# Exercises. (1) Let Chebyshev believe in an interval that is too small (`f / 2`): what happens, and after how many steps? (2) Round
# only `d` in `layer.two_term`: which rounding makes the floor? (3) Which form of the filter stays symmetric?
