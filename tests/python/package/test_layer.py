"""experiments/notebooks/layer.py, what the lessons read, has the library's bits."""
import os
import sys

import numpy as np
import pytest

import gka

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "experiments", "notebooks"))
import layer  # noqa: E402

FORMATS = {"bf16": layer.bf16, "fp32": layer.fp32, "fp64": layer.fp64}


def numbers(name, x):
    """x in a format, in the type that layer.py wants."""
    return gka.round(x, name).astype(np.float64 if name == "fp64" else np.float32)


def test_bf16_is_the_librarys():
    x = np.random.default_rng(0).integers(0, 2 ** 32, 200000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.abs(x) < 3e38]
    assert np.array_equal(layer.bf16(x), gka.round(x, "bf16"))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("method, solver", [("chebyshev", layer.chebyshev), ("chebyshev2", layer.two_term), ("cg", layer.cg)])
def test_solvers(name, method, solver):
    rng, R = np.random.default_rng(1), FORMATS[name]
    for D, n, ridge in (8, 3, .02), (16, 40, .02), (24, 100, .3):
        K = rng.standard_normal((n, D)) / np.sqrt(D)
        H, q = numbers(name, K.T @ K), numbers(name, rng.standard_normal(D))
        f = float(np.linalg.norm(np.asarray(gka.round(K.T @ K, "fp64"))))
        for steps in (1, 7, 30):
            more = dict(u=gka.formats[name].unit_roundoff) if solver is layer.cg else {}
            lam, size = numbers(name, ridge * f), numbers(name, f)
            ours = solver(R, H, q, lam.item() if name == "fp64" else lam[()], size[()], steps, **more)
            theirs = gka.solve(K.T @ K, q, method=method, arithmetic=name, iterations=steps, lam=ridge * f).x
            assert np.array_equal(ours, theirs), (D, steps, np.abs(ours - theirs).max())


@pytest.mark.parametrize("name", ["bf16", "fp32"])
def test_the_layer(name):
    p = gka.problem("mean", T=24, D=16, V=8, gate="slow", dtype=name)
    given = [numbers(name, getattr(p, one)[0].astype(np.float32))[:, 0] for one in ("q", "k", "v", "alpha", "g")]
    given[4] = np.asarray(p.g[0, :, 0], np.float64)
    x, o = layer.layer(FORMATS[name], *given)
    theirs = gka.emulate("tokens/" + name, p, stored=False)
    assert np.array_equal(x, theirs.x[0, :, 0]) and np.array_equal(o, theirs.o[0, :, 0])


@pytest.mark.parametrize("name", ["bf16", "fp32"])
def test_kalman(name):
    rng = np.random.default_rng(2)
    k, q = (numbers(name, rng.standard_normal((30, 12)) / 3) for _ in range(2))
    assert np.array_equal(layer.kalman(FORMATS[name], k, q, .5), gka.kalman(k, q, lam=.5, arithmetic=name))
