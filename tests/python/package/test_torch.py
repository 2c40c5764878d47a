"""gka.torch.layer: the kernel's bits, forward and backward, in a model that is trained."""
import numpy as np
import pytest

import gka

torch = pytest.importorskip("torch")
import gka.torch  # noqa: E402

B, T, H, D = 2, 48, 2, 16


def tensors(seed=0, dtype=torch.bfloat16):
    make = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=make)
    unit = lambda: torch.nn.functional.normalize(normal(B, T, H, D), dim=-1).to(dtype)
    return [t.requires_grad_() for t in (unit(), unit(), normal(B, T, H, D).to(dtype), torch.sigmoid(normal(B, T, H)).to(dtype),
                                         -torch.nn.functional.softplus(normal(B, T, H) - 3))], normal(B, T, H, D).to(dtype)


@pytest.mark.parametrize("kernel", ["h100", "h100/two-term", "a100", "steps", "tokens/fp32", "certified", "fp64"])
def test_bits_of_one_step(kernel, tmp_path, command):
    leaves, do = tensors()
    o = gka.torch.layer(*leaves, kernel=kernel, chunk_size=16)
    grads = torch.autograd.grad(o, leaves, do)
    out = gka.emulate(kernel, *leaves, do=do, chunk_size=16, outputs=["o", *("layer.d" + n for n in ("q", "k", "v", "alpha", "g"))])
    assert o.dtype == torch.bfloat16 and torch.equal(o, out.o)
    for name, leaf, grad in zip(("q", "k", "v", "alpha", "g"), leaves, grads):
        assert grad.dtype == leaf.dtype and torch.equal(grad, out["layer.d" + name].to(leaf.dtype)), name
    if kernel != "h100":
        return
    # ... and of the command, on the same inputs in a file
    gka.Problem(*leaves, do=do, chunk_size=16).save(tmp_path / "problem")
    command("golden", "--input", tmp_path / "problem", "--emulate=h100", "-o", tmp_path / "golden")
    file = gka.load(tmp_path / "golden", "torch")
    assert torch.equal(o, file["o.h100"])
    for name, grad in zip(("dq", "dk", "dv", "dalpha", "dg"), grads):
        assert torch.equal(grad, file[f"layer.{name}.h100"]), name


def test_layouts_and_states():
    leaves, do = tensors()
    turned = [t.detach().transpose(1, 2).requires_grad_() for t in leaves]
    a, b = gka.torch.layer(*leaves, kernel="h100", chunk_size=16), gka.torch.layer(*turned, kernel="h100", chunk_size=16,
                                                                                  layout="bhtd")
    assert torch.equal(a, b.transpose(1, 2))
    for x, y in zip(torch.autograd.grad(a, leaves, do), torch.autograd.grad(b, turned, do.transpose(1, 2))):
        assert torch.equal(x, y.transpose(1, 2))
    K = torch.randn(B, H, 40, D, generator=torch.Generator().manual_seed(9))
    h0 = (K.mT @ K / 40).requires_grad_()
    u0 = torch.zeros(B, H, D, D).requires_grad_()
    o = gka.torch.layer(*leaves, h0=h0, u0=u0, kernel="steps", chunk_size=16)
    dh0, du0 = torch.autograd.grad(o, [h0, u0], do)
    out = gka.gradients(*leaves, h0=h0, u0=u0, do=do, kernel="steps", chunk_size=16)
    assert torch.equal(dh0, out.dh0) and torch.equal(du0, out.du0)


def test_exact_gradients_are_autograds():
    """The certified gradients against PyTorch's own through a direct solve in float64."""
    (q, k, v, alpha, g), do = tensors(1, torch.float64)
    leaves = [t.detach().double().requires_grad_() for t in (q, k, v, alpha, g)]
    a, s = .02, D ** -.5
    Hs = torch.zeros(B, H, D, D, dtype=torch.float64)
    Us, os = Hs.clone(), []
    q, k, v, alpha, g = leaves
    for t in range(T):
        decay = torch.exp(g[:, t])[..., None, None]
        Hs = decay * Hs + k[:, t, :, :, None] * k[:, t, :, None]
        Us = decay * Us + k[:, t, :, :, None] * v[:, t, :, None]
        lam = a * Hs.square().sum((-2, -1)).sqrt()
        x = torch.linalg.solve(Hs + lam[..., None, None] * torch.eye(D, dtype=torch.float64), q[:, t])
        os.append(s * (Us.mT @ (q[:, t] + alpha[:, t, :, None] * (x - q[:, t]))[..., None])[..., 0])
    theirs = torch.stack(os, 1)
    o = gka.torch.layer(*leaves)
    assert o.dtype == torch.float64
    assert torch.linalg.norm(o - theirs) < 1e-12 * torch.linalg.norm(theirs)
    for x, y in zip(torch.autograd.grad(o, leaves, do.double()), torch.autograd.grad(theirs, leaves, do.double())):
        assert torch.linalg.norm(x - y) < 1e-11 * torch.linalg.norm(y)


class Model(torch.nn.Module):
    """Two layers of H heads between projections, as a language model has them."""

    def __init__(self, width, heads, kernel):
        super().__init__()
        self.kernel, self.heads = kernel, heads
        self.layers = torch.nn.ModuleList(torch.nn.ModuleDict({name: torch.nn.Linear(width, size, bias=False) for name, size in
                                                               (("q", width), ("k", width), ("v", width), ("alpha", heads),
                                                                ("g", heads), ("o", width))}) for _ in range(2))

    def forward(self, x):
        split = lambda t: t.unflatten(-1, (self.heads, -1))
        for one in self.layers:
            q, k = (torch.nn.functional.normalize(split(one[n](x)), dim=-1).bfloat16() for n in "qk")
            v, alpha = split(one["v"](x)).bfloat16(), torch.sigmoid(one["alpha"](x)).bfloat16()
            g = -torch.nn.functional.softplus(one["g"](x) - 3)
            o = gka.torch.layer(q, k, v, alpha, g, kernel=self.kernel, chunk_size=64)
            x = x + one["o"](o.float().flatten(-2))
        return x


def train(kernel, steps, batch=4, tokens=128, heads=2, width=128):
    """The losses of `steps` steps: predict the token before the last one."""
    torch.manual_seed(0)
    model = Model(width, heads, kernel)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        x = torch.randn(batch, tokens, width)
        loss = (model(x)[:, 2:] - x[:, :-2]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        print(f"{kernel}: step {len(losses)}: loss {losses[-1]:.5f}", flush=True)
    return losses


def test_training():
    h100, exact = (train(kernel, 3, 2, 32, 1, 32) for kernel in ("h100", "fp64"))
    assert np.allclose(h100, exact, rtol=1e-2) and h100 != exact


def test_what_is_refused():
    leaves, _ = tensors()
    with pytest.raises(gka.Unsupported, match="wants q, k, v, alpha and the cotangents in BF16"):
        gka.torch.layer(*(t.float() for t in leaves), kernel="h100", chunk_size=16)
    with pytest.raises(gka.BadArgument, match="no kernel 'h101'"):
        gka.torch.layer(*leaves, kernel="h101")


if __name__ == "__main__":  # python3 test_torch.py [KERNEL]: 20 steps of two layers, H 2, D 64, T 128, batch 4
    import sys
    import time
    begin = time.monotonic()
    train(sys.argv[1] if len(sys.argv) > 1 else "h100", 20)
    print(f"{time.monotonic() - begin:.1f} s")


def test_second_derivatives_and_vmap_are_refused():
    """A gradient penalty would else be a constant without a word."""
    leaves, do = tensors()
    o = gka.torch.layer(*leaves, kernel="fp64", chunk_size=16)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        torch.autograd.grad(o, leaves[0], do, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"\[B,T,H,D\]"):
        torch.vmap(lambda q: gka.torch.layer(q, *leaves[1:], kernel="fp64"))(torch.stack([leaves[0], leaves[0]]))


def test_autocast_and_float64():
    leaves, _ = tensors(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q = torch.nn.functional.linear(leaves[0], torch.eye(D))
        assert gka.torch.layer(q, *leaves[1:], kernel="fp64").dtype == q.dtype == torch.bfloat16
    wide = [x.detach()[:1, :5, :1].double().requires_grad_() for x in leaves]
    assert torch.autograd.gradcheck(lambda *given: gka.torch.layer(*given, kernel="fp64", chunk_size=16), wide)
    with pytest.raises(gka.Unsupported, match="BF16"):
        gka.torch.layer(*leaves, kernel="h100")
