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
# # Conditioning
#
# The layer solves $(H_t + \lambda_t I)\,x_t = q_t$ at every token, with $\lambda_t = a\,\|H_t\|_F$. How far can an error of the
# data grow? The condition number $\kappa$ of the system says it, and the ridge bounds it: this is lesson 2 of
# [experiments](../README.md), for the keyboard.

# %%
import numpy as np
import matplotlib.pyplot as plt

import gka

# %% [markdown]
# All eigenvalues of $H$ lie in $[0, \|H\|_F]$, so
# $$\kappa = \frac{\mu_{max} + a f}{\mu_{min} + a f} \le \frac{f + a f}{a f} = \frac{a + 1}{a}.$$
# With the released ridge, $a = 0.02$, this is 51. Is it attained? One key repeated makes $H$ of rank one: then
# $\mu_{max} = f$ and $\mu_{min} = 0$.

# %%
a = .02
bound = (a + 1) / a
for keys in ("iid", "mean", "repeat"):
    spectrum = gka.spectrum(gka.problem(keys, T=128, D=32, V=32, gate="none"))
    print(f"{keys:7} kappa at t = {spectrum.tokens}:", np.round(spectrum.conditioning["kappa"][0, 0], 1))

# %% [markdown]
# Keys that are alike attain the bound at every token; independent ones only at the first, and come down as the state fills.

# %%
for keys in ("iid", "mean", "repeat", "aligned"):
    spectrum = gka.spectrum(gka.problem(keys, T=256, D=32, V=32, gate="none"))
    plt.semilogx(spectrum.tokens, spectrum.conditioning["kappa"][0, 0], marker="o", label=keys)
plt.axhline(bound, color="black", linewidth=.5)
plt.xlabel("token")
plt.ylabel("condition number")
plt.legend()
plt.show()

# %% [markdown]
# Does a gate change this? It forgets old keys, so fewer of them share the state.

# %%
for gate in ("none", "slow", "released", "strong"):
    spectrum = gka.spectrum(gka.problem(T=256, D=32, V=32, gate=gate))
    last = {name: values[0, 0, -1] for name, values in spectrum.conditioning.items()}
    print(f"{gate:9} kappa {last['kappa']:5.1f}, effective rank {last['rank']:5.1f} of 32")

# %% [markdown]
# Now errors. $\kappa$ times the unit roundoff is what the solution may lose when the data are rounded once. We solve one
# system in bfloat16 by each solver, for several ridges.

# %%
rng = np.random.default_rng(0)
K = rng.standard_normal((200, 32)) + 2 * rng.standard_normal(32)
K /= np.linalg.norm(K, axis=1, keepdims=True)
H, q = K.T @ K, rng.standard_normal(32)
f = np.linalg.norm(H)
ridges = 2.0 ** -np.arange(1, 12)
kappas = [np.linalg.cond(H + r * f * np.eye(32)) for r in ridges]

# %%
u = gka.formats["bf16"].unit_roundoff
for method in ("chebyshev", "cg", "cholesky"):
    errors = []
    for r in ridges:
        truth = np.linalg.solve(H + r * f * np.eye(32), q)
        x = gka.solve(H, q, ridge_ratio=r, method=method, arithmetic="bf16-acc32", iterations=100).x
        errors.append(np.linalg.norm(x - truth) / np.linalg.norm(truth))
    plt.loglog(kappas, errors, marker="o", label=method)
plt.loglog(kappas, u * np.array(kappas), color="black", linewidth=.5, label="kappa u")
plt.xlabel("condition number")
plt.ylabel("relative error of x")
plt.legend()
plt.show()

# %% [markdown]
# The residual tells another story than the error: a solution may solve a nearby system well and still be far away. That is
# backward error, and it does not know $\kappa$.

# %%
for r in (.5, .02, .0005):
    solution = gka.solve(H, q, ridge_ratio=r, arithmetic="bf16-acc32", iterations=100)
    truth = np.linalg.solve(H + r * f * np.eye(32), q)
    print(f"ridge {r:6}: kappa {np.linalg.cond(H + r * f * np.eye(32)):8.1f}, backward error {solution.eta:.1e}, error "
          f"{np.linalg.norm(solution.x - truth) / np.linalg.norm(truth):.1e}")

# %% [markdown]
# And in the whole layer? `gka.condition` asks of each output of a kernel whether its error is the problem's or its own.

# %%
problem = gka.problem("mean", T=128, D=64, V=64)
three = gka.condition(problem)
print(three)

# %% [markdown]
# `floor` is what storing right values costs, `typical` what one rounding of the inputs does; `ratio` is the error over the larger
# of both. Above 10 the word would be unstable: another kernel would lose less. Here o and dalpha come near it. Such a kernel
# exists, and its name is `h100/two-term`: the same polynomial in another form.

# %%
two = gka.condition(problem, emulate="h100/two-term")
print(two)
for before, after in zip(three, two):
    if before["name"] in ("o", "solve.dk", "layer.dalpha"):
        assert after["error"] < before["error"] / 2

# %% [markdown]
# Exercises. (1) Which ridge halves the bound of 51, and what does it cost? (2) Put the keys of a model in:
# `gka.Problem.load("tests/data/real/smollm2_rope_released.safetensors")`. (3) Plot $\kappa$ against the gate's memory.
