"""The authors' two serving functions by the plain recurrence in binary64, for dump_serving.py's test: no kernels, no GPU."""
import torch


def step(q, k, v, alpha, g, beta, scale, ridge, h, u):
    q, k = (t / t.norm(dim=-1, keepdim=True) for t in (q.double(), k.double()))
    groups = q.shape[1] // k.shape[1]
    k, v = (t.double().repeat_interleave(groups, 1) for t in (k, v))
    if beta is not None:
        k, v = (t * (beta.double()[..., None] + 1e-6) for t in (k, v))
    gamma = 1 if g is None else g.double().exp()[..., None, None]
    h = gamma * h + k[..., :, None] * k[..., None, :]
    u = gamma * u + k[..., :, None] * v[..., None, :]
    ridge = ridge * h.flatten(2).norm(dim=-1)[..., None, None] * torch.eye(h.shape[-1])
    x = torch.linalg.solve(h + ridge, q[..., None])[..., 0]
    return scale * torch.einsum("bhd,bhdv->bhv", q + alpha.double()[..., None] * (x - q), u), h, u


def prefill_or_decode(q, k, v, alpha, g, beta, scale, ridge, h, u):
    B, T, H, D = q.shape
    zeros = lambda n: torch.zeros(B, H, D, n, dtype=torch.float64)
    h, u, o = zeros(D) if h is None else h.double(), zeros(v.shape[3]) if u is None else u.double(), []
    at = lambda tensor, t: None if tensor is None else tensor[:, t]
    for t in range(T):
        one, h, u = step(q[:, t], k[:, t], v[:, t], alpha[:, t], at(g, t), at(beta, t), scale, ridge, h, u)
        o.append(one)
    return torch.stack(o, 1).to(q.dtype), h, u


def gka_chebyshev_gla_prefill(q, k, v, alpha, g, gk, beta, gla_scale, ridge_ratio, num_iter, h_kk_initial, h_kv_initial, cu_seqlens):
    o, h, u = prefill_or_decode(q, k, v, alpha, g, beta, gla_scale, ridge_ratio, h_kk_initial, h_kv_initial)
    return o, h.float(), u.float()


def gka_chebyshev_gla_decode(q, k, v, alpha, g, gk, beta, gla_scale, ridge_ratio, num_iter, h_kk, h_kv, cu_seqlens, ssm_state_indices):
    o, h, u = prefill_or_decode(q, k, v, alpha, g, beta, gla_scale, ridge_ratio, h_kk, h_kv)
    h_kk.copy_(h)
    h_kv.copy_(u)
    return o, h_kk, h_kv
