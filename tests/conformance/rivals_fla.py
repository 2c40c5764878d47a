"""The layers of gka/rivals.h against the naive PyTorch functions of flash-linear-attention (the package fla-core),
forward, and backward by autograd.

usage: rivals_fla.py RIVALS_OF    (the program of rivals_of.c). Exit status 77: torch, einops or fla-core is missing.

The functions are loaded from their files, for the package itself imports Triton. They compute in float32 (`.float()`
is made a step to float64 here, so that what is compared is the formula and not its rounding).
"""
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import einops  # noqa: F401
    import torch
    FLA = importlib.util.find_spec("fla").submodule_search_locations[0]
except (ImportError, AttributeError) as missing:
    print(f"skipped: torch, einops and fla-core are needed ({missing})")
    sys.exit(77)

B, T, H, D, V = 2, 32, 2, 8, 8
torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)


def naive(folder):
    path = os.path.join(FLA, "ops", folder, "naive.py")
    spec = importlib.util.spec_from_file_location("naive_" + folder, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs():
    torch.manual_seed(1)
    unit = torch.nn.functional.normalize
    t = dict(q=unit(torch.randn(B, T, H, D), dim=-1), k=unit(torch.randn(B, T, H, D), dim=-1), v=torch.randn(B, T, H, V),
             beta=torch.rand(B, T, H), g=-torch.rand(B, T, H) / 4, gk=-torch.rand(B, T, H, D) / 4)
    return {name: x.requires_grad_() for name, x in t.items()}


def write(path, tensors, scale):
    header, place = {"__metadata__": {"scale": repr(scale)}}, 0
    for name, x in tensors.items():
        header[name] = dict(dtype="F64", shape=list(x.shape), data_offsets=[place, place + 8 * x.numel()])
        place += 8 * x.numel()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            file.write(x.detach().numpy().tobytes())


def ours(layer, tensors, do, scale, without=()):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "problem.safetensors")
        write(path, {**{n: x for n, x in tensors.items() if n not in without}, "do": do}, scale)
        text = subprocess.run([PROGRAM, path, layer], check=True, capture_output=True, text=True).stdout
    numbers, results, at = torch.tensor([float(x) for x in text.split()]), {}, 0
    shapes = dict(o=(V,), q=(D,), k=(D,), v=(V,), beta=(), g=(), gk=(D,))
    for name, last in shapes.items():
        count = B * T * H * (last[0] if last else 1)
        results[name] = numbers[at:at + count].reshape(B, T, H, *last)
        at += count
    assert at == len(numbers)
    return results


def first(x):
    return x.transpose(1, 2)  # heads before tokens


class Rivals(unittest.TestCase):
    def same(self, layer, function, reads, scale=D ** -0.5, without=()):
        tensors = inputs()
        o = function(**{name: tensors[name] for name in reads.split()})
        do = torch.randn(B, T, H, V)
        o.backward(do)
        got = ours(layer, tensors, do, scale, without)
        for name in ["o"] + reads.split():
            expected = o.detach() if name == "o" else tensors[name].grad
            error = ((got[name] - expected).norm() / expected.norm()).item()
            self.assertLess(error, 1e-11, f"{layer}: {name}")

    def test_linear(self):
        simple, gla = naive("simple_gla"), naive("gla")
        zero = torch.zeros(B, T, H)
        self.same("linear", lambda q, k, v: simple.naive_recurrent_simple_gla(q, k, v, zero)[0], "q k v")
        self.same("mamba2", lambda q, k, v, g: simple.naive_chunk_simple_gla(q, k, v, g, chunk_size=16)[0], "q k v g", without=("beta",))
        self.same("mamba2", lambda q, k, v, g, beta: simple.naive_recurrent_simple_gla(q, k, v * beta[..., None], g)[0], "q k v g beta")
        self.same("gla", lambda q, k, v, gk: gla.naive_recurrent_gla(q, k, v, gk)[0], "q k v gk")

    def test_retention(self):
        self.same("retnet", lambda q, k, v: first(naive("retention").naive_retention(first(q), first(k), first(v))), "q k v")

    def test_delta_rule(self):
        delta, kda = naive("delta_rule"), naive("kda")
        self.same("deltanet", lambda q, k, v, beta: first(delta.delta_rule_recurrence(first(q), first(k), first(v), first(beta))[0]), "q k v beta")
        self.same("deltanet", lambda q, k, v, beta: first(delta.delta_rule_chunkwise(first(q), first(k), first(v), first(beta), 16)[0]), "q k v beta")
        self.same("kda", lambda q, k, v, gk, beta: kda.naive_recurrent_kda(q, k, v, gk, beta)[0], "q k v gk beta")
        self.same("gdn", lambda q, k, v, g, beta: kda.naive_recurrent_kda(q, k, v, g[..., None].expand(B, T, H, D), beta)[0], "q k v g beta")

    def test_mesa(self):
        exact = naive("mesa_net").naive_mesa_net_exact
        ridge = torch.full((H, D), .75)
        self.same("mesa/ridge=.75/num_iter=60", lambda q, k, v, g, beta: exact(q, k, v, g, ridge, beta)[0], "q k v g beta", scale=1.0)

    def test_mesa_with_its_guard(self):
        """30 guarded steps, forward alone: the derivative of a guarded iteration is not the implicit one."""
        tensors, ridge = inputs(), torch.full((H, D), .75)
        o = naive("mesa_net").naive_mesa_net_CG(*(tensors[n] for n in "q k v g".split()), ridge, tensors["beta"], 16)[0]
        got = ours("mesa/ridge=.75/num_iter=30/guard=1e-5", tensors, torch.zeros(B, T, H, V), 1.0)["o"]
        self.assertLess(((got - o).norm() / o.norm()).item(), 1e-9)

    def test_softmax(self):
        attend = torch.nn.functional.scaled_dot_product_attention
        self.same("softmax", lambda q, k, v: first(attend(first(q), first(k), first(v), is_causal=True)), "q k v")

    def test_it_can_fail(self):
        with self.assertRaises(AssertionError):
            self.same("retnet", lambda q, k, v: naive("simple_gla").naive_recurrent_simple_gla(q, k, v, torch.zeros(B, T, H))[0], "q k v")


if __name__ == "__main__":
    PROGRAM = sys.argv[1]
    unittest.main(argv=sys.argv[:1], verbosity=2)
