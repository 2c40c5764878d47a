"""released_stub.py - the names and signatures that scripts/gpu/dump_released.py uses of the authors' gka_chebyshev_solve and of
flash-linear-attention's chunk_simple_gla, over layer_torch.py: what can be tested of that script without a GPU."""
import layer_torch
import torch


def chunk_local_cumsum(g, chunk_size):
    assert g.dtype == torch.float32
    return torch.cat([part.cumsum(1) for part in g.split(chunk_size, 1)], 1)


def outputs(k, q, g, num_iter, ridge_ratio, h0, chunk_size):
    return layer_torch.layer(q, k, ridge_ratio, num_iter, chunk_size, 1.0, g=g, h0=h0)


def chebyshev_iteration_forward_triton(k, q, gkk, fro, num_iter=30, ridge_ratio=0.02, chunk_size=64, load_fro=0,
                                       output_final_state=False, h0=None):
    first = torch.arange(q.shape[1]) % chunk_size == 0  # gkk is a chunk's cumulative sum
    g = None if gkk is None else torch.where(first[:, None], gkk, gkk - gkk.roll(1, 1))
    out = outputs(k, q, g, num_iter, ridge_ratio, h0, chunk_size)
    fro.copy_(out["fro"])
    assert load_fro == 0 and output_final_state and k.shape == q.shape
    return out["x"], fro, out["h_chunk"], out["h_final"]


class ChebyshevIteration:
    @staticmethod
    def apply(k, q, gk=None, num_iter=30, ridge_ratio=0.02, bp_lambda=True, h0=None, chunk_size=64):
        assert bp_lambda and k.shape == q.shape
        out = outputs(k, q, gk, num_iter, ridge_ratio, h0, chunk_size)
        return out["x"], out["h_final"]


def chunk_simple_gla(q, k, v, scale, g=None, initial_state=None, output_final_state=False):
    assert output_final_state and k.shape == q.shape
    U, os = v.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[3]).float() if initial_state is None else initial_state, []
    for t in range(q.shape[1]):
        gamma = 1 if g is None else torch.exp(g[:, t])[..., None, None]
        U = gamma * U + k[:, t, :, :, None].float() * v[:, t, :, None].float()
        os.append(scale * (U.mT @ q[:, t].float()[..., None])[..., 0])
    return torch.stack(os, 1).to(q.dtype), U


def gka_chebyshev_gla(q, k, v, alpha, g, gk, gla_scale, ridge_strength=0.02, solver_type="chebyshev", num_iter=30, bp_lambda=True,
                      chunk_size=64):
    x, h_final = ChebyshevIteration.apply(k, q, gk, num_iter, ridge_strength, bp_lambda, None, chunk_size)
    o, u_final = chunk_simple_gla(q + alpha[..., None] * (x - q), k, v, gla_scale, g, None, True)
    return o, h_final, u_final
