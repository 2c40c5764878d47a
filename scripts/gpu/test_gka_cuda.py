"""test_gka_cuda.py - gka_cuda.py as an operator of PyTorch: `pytest test_gka_cuda.py` on a machine with a GPU and the library
(GKA_CUDA_LIBRARY)."""
import os
import sys

import pytest
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gka_cuda  # noqa: E402
from gka_cuda import gka_chebyshev_gla  # noqa: E402

HOW = (.02, 30, 64 ** -.5, "two-term", False)


def draw(B=1, T=100, H=4, G=2, D=64, V=None, half=torch.bfloat16, seed=0):
    """q k v alpha g of a layer, keys as the layer has them."""
    random = torch.Generator("cuda").manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=random, device="cuda")
    unit = lambda t: t / (t.norm(dim=-1, keepdim=True) + 1e-6)
    q, k, v = unit(normal(B, T, H, D)), unit(normal(B, T, G, D)), normal(B, T, G, V or D)
    return [t.to(half) for t in (q, k, v, normal(B, T, H).sigmoid())] + [-normal(B, T, H).abs() * .05]


def exact(q, k, v, alpha, g, ridge, scale):
    """o in fp64, token by token, differentiable."""
    q, k, v, alpha, g = (t.double() for t in (q, k, v, alpha, g))
    B, T, H, D = q.shape
    k, v = (t.repeat_interleave(H // t.shape[2], 2) for t in (k, v))
    h, u = (torch.zeros(B, H, D, n, dtype=torch.float64, device=q.device) for n in (D, v.shape[3]))
    out = []
    for t in range(T):
        keep = g[:, t].exp()[..., None, None]
        h = keep * h + k[:, t, :, :, None] * k[:, t, :, None]
        u = keep * u + k[:, t, :, :, None] * v[:, t, :, None]
        ridged = h + ridge * h.flatten(2).norm(dim=-1)[..., None, None] * torch.eye(D, dtype=h.dtype, device=h.device)
        x = torch.linalg.solve(ridged, q[:, t, ..., None])[..., 0]
        mixed = q[:, t] + alpha[:, t, :, None] * (x - q[:, t])
        out.append(scale * (mixed[..., None, :] @ u)[..., 0, :])
    return torch.stack(out, 1)


@pytest.mark.parametrize("accurate,bar", [(False, .12), (True, .03)])
@pytest.mark.parametrize("V,half", [(64, torch.bfloat16), (128, torch.bfloat16), (64, torch.float16), (256, torch.float16)])
def test_gradients_are_those_of_the_exact_layer(accurate, bar, V, half):
    given = draw(V=V, half=half)
    ours, theirs = ([t.clone().requires_grad_() for t in given] for _ in range(2))
    do = torch.randn((1, 100, 4, V), generator=torch.Generator("cuda").manual_seed(1), device="cuda").to(half)
    o, h_final, u_final = gka_chebyshev_gla(*ours, accurate=accurate)
    reference = exact(*theirs, .02, 64 ** -.5)
    distance = lambda a, b: float((a.double() - b.double()).norm() / b.double().norm())
    assert distance(o, reference) < bar
    o.backward(do)
    reference.backward(do.double())
    for a, b in zip(ours, theirs):
        assert distance(a.grad, b.grad) < bar


def test_final_states_are_differentiable():
    q, k, v, alpha, g = draw()
    v.requires_grad_()
    _, _, u_final = gka_chebyshev_gla(q, k, v, alpha, g)
    u_final.sum().backward()
    assert torch.isfinite(v.grad).all() and float(v.grad.float().norm()) > 0


@pytest.mark.parametrize("accurate", [False, True])
def test_packed_sequences_are_each_on_its_own(accurate):
    given = [t.requires_grad_() for t in draw(T=200, V=128)]
    bounds = [0, 70, 70, 71, 135, 200]
    packed = gka_chebyshev_gla(*given, cu_seqlens=torch.tensor(bounds, device="cuda"), accurate=accurate)
    grads = torch.autograd.grad(packed[0].float().square().sum(), given)
    for n, (a, b) in enumerate(zip(bounds, bounds[1:])):
        if a == b:
            assert not packed[1][n].any() and not packed[2][n].any()
            continue
        alone = [t.detach()[:, a:b].contiguous().requires_grad_() for t in given]
        out = gka_chebyshev_gla(*alone, accurate=accurate)
        assert torch.equal(out[0], packed[0][:, a:b]) and torch.equal(out[1][0], packed[1][n]) and torch.equal(out[2][0], packed[2][n])
        for x, y in zip(grads, torch.autograd.grad(out[0].float().square().sum(), alone)):
            assert torch.equal(x[:, a:b], y)


def test_decode_by_state_indices():
    lib = gka_cuda.library()
    q, k, v, alpha, g = draw(B=3, T=1, D=128, V=64)
    states = [torch.randn(7, 4, 128, n, device="cuda") for n in (128, 64)]
    states[0] = states[0] + states[0].mT
    pools = [t.clone() for t in states]
    places = torch.tensor([5, -1, 2], dtype=torch.int32, device="cuda")
    _, _, o, *_ = lib.decode(q, k, v, alpha, g, *pools, state_indices=places)
    for n in (0, 2):
        one = [t[n:n + 1].contiguous() for t in (q, k, v, alpha, g)]
        at = int(places[n])
        _, _, alone, h, u = lib.decode(*one, *(t[at:at + 1].contiguous() for t in states))
        assert torch.equal(alone[0], o[n]) and torch.equal(h[0], pools[0][at]) and torch.equal(u[0], pools[1][at])
    for at in (0, 1, 3, 4, 6):
        assert all(torch.equal(a[at], b[at]) for a, b in zip(states, pools))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_decode_keeps_half_states(half):
    lib = gka_cuda.library()
    given = draw(B=2, T=1, V=128, half=half)
    states = [torch.randn(2, 4, 64, n, device="cuda").to(half) for n in (64, 128)]
    x, fro, o, h, u = lib.decode(*given, *states)
    wide = lib.decode(*given, *(t.float() for t in states))
    for a, b in zip((x, fro, o, h, u), wide):
        assert torch.equal(a, b.to(a.dtype)) and a.dtype == (torch.float32 if a is fro else half)
    with pytest.raises(TypeError, match="h0 is torch.float64"):
        lib.decode(*given, *(t.double() for t in states))


@pytest.mark.parametrize("accurate", [False, True])
@pytest.mark.parametrize("D", [64, 128])
def test_a_cut_sequence_has_the_bits_of_the_whole(accurate, D):
    lib, how = gka_cuda.library(), dict(accurate=accurate)
    given, do = draw(T=300, D=D), torch.randn(1, 300, 4, D, device="cuda").bfloat16()
    x, fro, o, h_final, u_final = lib.forward(*given, **how)
    whole = dict(lib.backward(*given, x=x, fro=fro, dout=do, **how), o=o)
    bounds, states, kept, later = [0, 64, 256, 300], [None, None], [], {}
    spans = list(zip(bounds, bounds[1:]))
    for a, b in spans:
        part = [t[:, a:b].contiguous() for t in given]
        ends = lib.final_states(*part[:3], part[4], *states)
        px, pfro, po, *own = lib.forward(*part, *states, **how)
        assert all(torch.equal(m, n) for m, n in zip(ends, own)) and torch.equal(po, o[:, a:b])
        kept.append((part, states, px, pfro))
        states = own
    assert torch.equal(states[0], h_final) and torch.equal(states[1], u_final)
    for (a, b), (part, states, px, pfro) in reversed(list(zip(spans, kept))):
        d, run = lib.backward_in_parts(*part, *states, x=px, fro=pfro, dout=do[:, a:b].contiguous(), to_previous=a > 0, **how, **later)
        for piece in (gka_cuda.SOLVE, gka_cuda.SUFFIX, gka_cuda.REST):
            run(piece)
        for name in ("dq", "dk", "dv", "dalpha", "dg"):
            assert torch.equal(d[name], whole[name][:, a:b]), (name, a)
        later = dict(dh_final=d["dh0"], du_final=d["du0"], from_next=True)
    assert torch.equal(d["dh0"], whole["dh0"]) and torch.equal(d["du0"], whole["du0"])


@pytest.mark.parametrize("accurate", [False, True])
def test_opcheck(accurate):
    given = [t.requires_grad_() for t in draw()]
    torch.library.opcheck(torch.ops.gka.layer, (*given, None, None, None, *HOW[:-1], accurate),
                          test_utils=("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static"))


def test_compiled_is_eager_bit_for_bit():
    given = draw()
    eager = gka_chebyshev_gla(*given)
    for a, b in zip(eager, torch.compile(gka_chebyshev_gla, fullgraph=True)(*given)):
        assert torch.equal(a, b)


def test_autocast_gives_the_bits_of_bf16_inputs():
    given = draw()
    with torch.autocast("cuda", torch.bfloat16):
        o, _, _ = gka_chebyshev_gla(*(t.float() for t in given))
    assert torch.equal(o, gka_chebyshev_gla(*given)[0])


def test_the_current_stream_is_used():
    given = draw(T=2048)
    want = gka_chebyshev_gla(*given)[0]
    stream = torch.cuda.Stream()
    late = [t.clone() for t in given]
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        late[0].zero_()
        torch.cuda._sleep(200_000_000)
        late[0].copy_(given[0])  # on another stream the kernels would read zeros
        o = gka_chebyshev_gla(*late)[0]
    stream.synchronize()
    assert torch.equal(o, want)


def test_decode_in_a_graph_gives_the_bits_of_a_hundred_calls():
    lib = gka_cuda.library()
    q, k, v, alpha, g = draw(B=3, T=1, D=128)
    state = [torch.zeros(3, 4, 128, 128, device="cuda") for _ in range(2)]

    def step():
        x, fro, o, h, u = lib.decode(q, k, v, alpha, g, *state)
        state[0].copy_(h)
        state[1].copy_(u)
        return o

    for _ in range(100):
        want = step()
    kept = [t.clone() for t in (want, *state)]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    for t in state:
        t.zero_()
    for _ in range(100):
        graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(kept, (out, *state)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("spoil,what,error", [
    (lambda a: a.__setitem__(0, a[0].transpose(1, 2).contiguous().transpose(1, 2)), "q is not contiguous", ValueError),
    (lambda a: a.__setitem__(1, a[1].float()), "k is torch.float32", TypeError),
    (lambda a: a.__setitem__(2, a[2][:, :-1].contiguous()), "v is ", ValueError),
    (lambda a: a.__setitem__(3, a[3].float()), "alpha is torch.float32", TypeError),
    (lambda a: a.__setitem__(4, a[4].bfloat16()), "g is torch.bfloat16", TypeError),
    (lambda a: a.__setitem__(4, a[4].cpu()), "g is on cpu", ValueError),
    (lambda a: a.__setitem__(slice(0, 3), [t[..., :48].contiguous() for t in a[:3]]), "D = 48", RuntimeError),
])
def test_a_bad_argument_is_an_exception(spoil, what, error):
    given = draw()
    spoil(given)
    with pytest.raises(error, match=what):
        gka_cuda.library().forward(*given)
