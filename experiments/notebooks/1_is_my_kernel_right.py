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
# # Is my kernel right?
#
# You have a GPU kernel of the Gated KalmaNet layer, in bfloat16, and its output differs from a reference in float32. Is that
# a mistake, or rounding? This notebook answers it for a kernel that is wrong in one place. It needs the package `gka`, numpy
# with ml_dtypes, and matplotlib.

# %%
import numpy as np
import matplotlib.pyplot as plt

import gka

problem = gka.problem(B=1, T=256, H=2, D=64, V=64, gate="released")
problem

# %% [markdown]
# Your tensors go in the place of these: `gka.Problem(q, k, v, alpha, g)` takes numpy, PyTorch or JAX. First the exact answer.
# "Exact" is meant: every number is the real result, rounded once, and the report says how that was proven.

# %%
exact = gka.exact(problem)
exact.report["forward"]

# %% [markdown]
# Next, what a right kernel makes of it. No H100 is needed: the emulation has its bits.

# %%
h100 = gka.emulate("h100", problem)
for name in ("x", "fro", "o"):
    print(f"{name:4}", gka.compare(h100[name], exact[name]).rel_err)

# %% [markdown]
# So some thousandths of x, and three hundredths of o, are what bfloat16 costs here. Now a kernel with a mistake: it forgets the gate of the first
# token of every chunk. Its output looks like the right one.


# %%
def my_kernel(problem):
    g = problem.g.copy()
    g[:, 64::64] = 0
    return gka.emulate("h100", problem.replace(g=g))


mine = my_kernel(problem)
for name in ("x", "fro", "o"):
    print(f"{name:4}", gka.compare(mine[name], exact[name]).rel_err)

# %% [markdown]
# o does not show it at all: its own rounding errors are larger. Is the error of x much? A number alone does not say. A golden does: a file with the inputs, the references, and for each output a
# tolerance that is derived from right kernels, not guessed.

# %%
import os
import tempfile

folder = tempfile.mkdtemp()
path = os.path.join(folder, "golden.safetensors")
gka.golden(path, T=256, H=2, D=64, V=64, gate="released")
verdict = gka.judge(h100, path)
print(verdict)
assert verdict.ok

# %%
verdict = gka.judge(mine, path)
print(verdict)
assert not verdict.ok

# %% [markdown]
# The right kernel passes, the wrong one fails, and the table says where: the first element that is off. Where along the
# sequence does the error begin?


# %%
def along(out):
    """Relative error of x, token by token, of head 0."""
    d = np.asarray(out.x, dtype=np.float64)[0, :, 0] - exact.x[0, :, 0]
    return np.linalg.norm(d, axis=1) / np.linalg.norm(exact.x[0, :, 0], axis=1)


plt.semilogy(along(h100), label="h100")
plt.semilogy(along(mine), label="mine")
for t in range(64, 256, 64):
    plt.axvline(t, color="grey", linewidth=.5)
plt.xlabel("token")
plt.ylabel("relative error of x")
plt.legend()
plt.show()

# %% [markdown]
# It jumps at the chunk boundaries, and decays as the gate forgets: the mistake is in what a chunk hands on.
#
# And if a right kernel loses too much? Then ask which rounding is to blame. Each one is switched on alone.

# %%
blame = gka.attribute(problem, outputs=["fro", "x", "o"])
print(blame)
print({name: blame.blame(name) for name in blame})

# %% [markdown]
# Repairs have names, too: `norm_reduce=exact` mends this one rounding, and `two-term` writes the same polynomial in another form.

# %%
mended = gka.emulate("h100/norm_reduce=exact", problem)
two_term = gka.emulate("h100/two-term", problem)
for name, repaired in ("fro", mended), ("o", two_term):
    before, after = (gka.compare(out[name], exact[name]).rel_err for out in (h100, repaired))
    print(f"{name:4} {before:.1e} as released, {after:.1e} repaired")
    assert after < .6 * before

# %% [markdown]
# In a test suite the same is three lines, and runs over a folder of goldens (`gka golden --suite kernel -o goldens`):
#
#     @pytest.mark.gka("goldens", autograd=True)
#     def test_layer(gka_golden):
#         gka_golden.check(my_layer)
#
# Exercises. (1) Let the kernel forget alpha in one token: does the golden see it? (2) Make the same golden with `dtype="fp32"`
# and judge `gka.emulate("tokens/fp32", ...)`: how much tighter are the tolerances? (3) Judge a solver that converges:
# `gka.emulate("exact64/num_iter=200", ...)`, with and without `reference="exact"`.
