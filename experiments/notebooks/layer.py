"""The layer in NumPy, as it stands in the book: to be read and changed. `python/package` compares it with the library, bit by bit.

Every function takes R, the rounding of one number: R = bf16 is the arithmetic that the library calls "bf16" (each product, each
sum rounded, sums from left to right), R = fp32 its "fp32", and R = fp64, on arrays of float64, its "fp64". Shapes: q k [T,D],
v [T,V], alpha g [T], g the logarithms of the gates.
"""
import numpy as np


def fp64(x):
    return x


def fp32(x):
    return np.float32(x)


def bf16(x):
    """float32 to the nearest number of 8 bits, ties to even. An operation of two such numbers, rounded to float32 and then to
    bf16, is rounded once: 24 >= 2 * 8 + 2 bits."""
    b = np.asarray(x, np.float32).view(np.uint32)
    half, one, kept = np.uint32(0x7FFF), np.uint32(1), np.uint32(0xFFFF0000)  # NumPy 1 widens a lone number by a Python int
    return ((b + half + (b >> np.uint32(16) & one)) & kept).view(np.float32)[()]


def product(R, M, x):
    """M x, one column after the other; of two vectors the inner product."""
    s = R(np.zeros(M.shape[:-1], M.dtype))
    for j in range(M.shape[-1]):
        s = R(s + R(M[..., j] * x[j]))
    return s


def chebyshev(R, H, q, lam, f, steps):
    """(H + lam I) x = q in three terms; the spectrum lies in [lam, lam + f]."""
    width, total = f, R(R(2 * lam) + f)
    half = R(R(width / total) * R(.5))
    square, step, omega = R(half * half), R(2 / total), R(2)
    before, x = 0 * q, R(step * q)
    for _ in range(steps):
        omega = R(1 / R(1 - R(square * omega)))
        g = R(R(R(lam * x) + product(R, H, x)) - q)
        g = R(R(R(step * omega) * g) + R(R(omega - 1) * before))
        before, x = x, R(R(omega * x) - g)
    return x


def two_term(R, H, q, lam, f, steps):
    """The same polynomial by its residual r and its direction d."""
    width, total = f, R(R(2 * lam) + f)
    delta, tau, twice_sigma = R(width * R(.5)), R(width / total), R(2 * R(total / width))
    r, d = q, R(q / R(total * R(.5)))
    x = d
    for _ in range(steps):
        r = R(r - R(R(lam * d) + product(R, H, d)))
        after = R(1 / R(twice_sigma - tau))
        d = R(R(R(after * tau) * d) + R(R(R(2 * after) / delta) * r))
        x, tau = R(x + d), after
    return x


def cg(R, H, q, lam, f, steps, u=2.0 ** -8):
    """Conjugate gradients until |r| <= u^2 |q|; f is not used."""
    x, r, p, rho, e = 0 * q, q, q, product(R, q, q), R(q.dtype.type(u * u))
    floor = R(R(e * rho) * e)
    for _ in range(steps):
        if not rho > floor:
            break
        w = R(R(lam * p) + product(R, H, p))
        step = R(rho / product(R, p, w))
        x, r = R(R(step * p) + x), R(r - R(step * w))
        before, rho = rho, product(R, r, r)
        p = R(R(R(rho / before) * p) + r)
    return x


def kalman(R, k, q, lam):
    """x_t = Phi_t q_t, Phi_t = (sum_s k_s k_s^T + lam I)^-1 by one update for each token; no gate. x [T,D]."""
    Phi = R(1 / R(k.dtype.type(lam))) * np.eye(k.shape[1], dtype=k.dtype)
    x = []
    for k_t, q_t in zip(k, q):
        u = product(R, Phi, k_t)
        gain = R(u / R(1 + product(R, k_t, u)))
        Phi = R(Phi - R(np.outer(gain, u)))
        x.append(product(R, Phi, q_t))
    return np.array(x)


def layer(R, q, k, v, alpha, g, solver=chebyshev, ridge_ratio=.02, steps=30):
    """x [T,D] and o [T,V] of one head, token by token."""
    one = q.dtype.type
    H, U = np.zeros((k.shape[1], k.shape[1]), one), np.zeros((k.shape[1], v.shape[1]), one)
    a, scale, x, o = R(one(ridge_ratio)), R(one(k.shape[1] ** -.5)), [], []
    for t in range(len(q)):
        gamma = R(one(np.exp(np.float64(g[t]))))
        H = R(R(np.outer(k[t], k[t])) + R(gamma * H))
        U = R(R(np.outer(k[t], v[t])) + R(gamma * U))
        f = R(np.sqrt(product(R, H.ravel(), H.ravel())))
        x.append(solver(R, H, q[t], R(a * f), f, steps) if f > 0 else 0 * q[t])
        mixed = R(R(alpha[t] * x[t]) + R(R(1 - alpha[t]) * q[t]))
        o.append(R(scale * product(R, U.T, mixed)))
    return np.array(x), np.array(o)
