"""The user's side: scripts/gpu/check_torch.py and dump_released.py on the CPU, the README's pytest example, and goldens read by
the safetensors package.

usage: run_torch.py GKA    (GKA: the program). Exit status 77: torch is not installed.
"""
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts", "gpu")
sys.path[:0] = [HERE, SCRIPTS]
try:
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
import check_torch  # noqa: E402
import dump_released  # noqa: E402
import dump_serving  # noqa: E402
import gka_check  # noqa: E402
import layer_torch  # noqa: E402

GKA = None
SLOW = ["ragged", "values"]  # by the loop over tokens


def gka(*arguments):
    return subprocess.run([GKA, *arguments], capture_output=True, text=True)


def quietly(main, *arguments):
    """What it returns and what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        result = main(list(arguments)) if arguments else main()
    return result, out.getvalue()


# Kernels, as a user would have them.

def forward(q, k, ridge_ratio, num_iter, chunk_size, scale, **rest):
    out = layer_torch.layer(q, k, ridge_ratio, num_iter, chunk_size, scale, **rest)
    return out["o"], out["h_final"], None


def gated_only(**inputs):
    if "g" not in inputs:
        raise NotImplementedError("no gate")
    return layer_torch.layer(**inputs)


def bare(q, k, v, alpha, g, ridge_ratio, num_iter, chunk_size, scale):
    raise AssertionError("called with what it does not take")


def misnamed(**inputs):
    return {"out": layer_torch.layer(**inputs)["o"]}


def own_gradients(cotangents, **inputs):
    """dv = E^T k of the layer by reverse recurrence through autograd of o, as a kernel with its own backward would hand it out."""
    v = inputs["v"].requires_grad_()
    out = layer_torch.layer(**inputs)
    out["layer.dv"], = torch.autograd.grad(out["o"], v, cotangents["do"])
    return out


def output_stage(q, k, v, alpha, g, scale, given, **rest):
    """o of a stage's golden: the output alone, at the x that it is handed."""
    U, os = q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[3]).float(), []
    for t in range(q.shape[1]):
        U = torch.exp(g[:, t])[..., None, None] * U + k[:, t, :, :, None].float() * v[:, t, :, None].float()
        mixed = q[:, t].float() + alpha[:, t, :, None].float() * (given["x"][:, t].float() - q[:, t].float())
        os.append(scale * (U.mT @ mixed[..., None])[..., 0])
    return torch.stack(os, 1).to(q.dtype)


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.suite = os.path.join(cls.scratch.name, "goldens")
        assert gka("golden", "--suite=quick", "-o", cls.suite).returncode == 0
        cls.golden = {name[:-12]: os.path.join(cls.suite, name) for name in os.listdir(cls.suite) if name.endswith(".safetensors")}

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def path(self, name):
        return os.path.join(self.scratch.name, name)

    def candidate(self, function, name, *options):
        return quietly(check_torch.main, f"run_torch:{function}" if ":" not in function else function, self.golden[name],
                       "--device=cpu", *options)

    def test_a_right_layer_passes_with_its_gradients(self):
        os.makedirs(self.path("candidates"))
        for name in self.golden:
            if name in SLOW:
                continue
            code, out = self.candidate("layer_torch:layer", name, "--autograd", "-o", self.path(f"candidates/{name}.safetensors"))
            self.assertEqual(code, 0, out)
            self.assertNotIn("missing", out)
        run = gka("verify", self.path("candidates"), "--against", self.suite)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("13 cases, 2 of them missing", run.stdout)
        self.assertIn(" 0 failed, 0 missing", run.stdout)

    def test_a_wrong_layer_fails(self):
        code, out = self.candidate("layer_torch:exp2", "gated")
        self.assertEqual(code, 1, out)
        self.assertRegex(out, "h_final .*NO\n  first h_final.*\n  worst h_final")
        passes, out = quietly(lambda: gka_check.passes(layer_torch.exp2(**gka_check.inputs(self.golden["gated"])),
                                                       self.golden["gated"]))
        self.assertFalse(passes)
        self.assertIn("h_final", out)

    def test_what_a_function_may_be(self):
        code, out = self.candidate("forward", "grouped", "--outputs=o,h_final,")
        self.assertEqual(code, 0, out)
        self.assertEqual(out.count("yes"), 2)
        code, out = self.candidate("forward", "grouped")
        self.assertEqual(code, 2)
        self.assertIn("3 tensors returned, 1 names in --outputs", out)
        code, out = self.candidate("own_gradients", "grouped")
        self.assertEqual(code, 0, out)
        self.assertRegex(out, "layer.dv .*yes")
        code, out = self.candidate("gated_only", "ungated")
        self.assertEqual(code, 2, out)
        self.assertIn("skipped: no gate", out)
        code, out = self.candidate("bare", "initial")
        self.assertEqual(code, 2, out)
        self.assertIn("skipped: the function takes no 'h0'", out)
        code, out = self.candidate("bare", "ungated")
        self.assertIn("skipped: the function needs 'g', which the golden has not", out)
        code, out = self.candidate("misnamed", "gated")
        self.assertEqual(code, 2, out)
        self.assertIn("no output is called 'out'", out)
        code, out = self.candidate("nothing", "ungated")
        self.assertEqual(code, 2)
        self.assertIn("MODULE:FUNCTION was expected", out)

    def test_released_kernels_that_are_not_there(self):
        code, out = quietly(dump_released.main, "not_there", self.golden["gated"], "-o", self.path("none"))
        self.assertEqual(code, 2)
        self.assertIn("dump_released: not_there: No module named", out)

    def test_one_stage(self):
        golden = self.path("stage.safetensors")
        self.assertEqual(gka("golden", "--stage=output", "--T=20", "--D=16", "--V=16", "-o", golden).returncode, 0)
        code, out = quietly(check_torch.main, "run_torch:output_stage", golden, "--device=cpu")
        self.assertEqual(code, 0, out)
        self.assertRegex(out, "o .*yes")

    def test_the_released_kernels_way(self):
        """Against a stand-in with their signatures. The types and names written, and all that passes."""
        run, skipped = [], []
        for name in sorted(set(self.golden) - set(SLOW)):
            code, out = quietly(dump_released.main, "released_stub", self.golden[name], "-o", self.path(f"{name}.st"), "--chunk",
                                "--device=cpu")
            (skipped if code == 2 else run).append(name)
            if code == 2:
                continue
            self.assertEqual(code, 0, out)
            self.assertNotIn("missing", out)
            file = gka_check.File(self.path(f"{name}.st"))
            self.assertEqual(file.metadata["source"], "output of the released GKA kernels")
            self.assertEqual([file.tensors[n][0] for n in ("x", "fro", "h_chunk", "h_final", "solve.dk")],
                             ["BF16", "F32", "BF16", "F32", "BF16"])
        self.assertEqual(skipped, ["final", "fp16", "fp32"])
        code, out = quietly(dump_released.main, "released_stub", self.golden["gated"], "-o", self.path("64.st"), "--device=cpu")
        self.assertEqual(code, 0, out)
        self.assertEqual(out.count("missing"), 1)  # h_chunk, which 64 has others of

    def test_pytest_example(self):
        try:
            import pytest  # noqa: F401
        except ImportError:
            self.skipTest("pytest is not installed")
        small = [f"test_kernel.py::test_layer[goldens/{name}.safetensors]" for name in ("gated", "packed", "fp32")]
        paths = os.pathsep.join([HERE, SCRIPTS])
        with open(os.path.join(HERE, "test_kernel.py")) as file, open(self.path("test_kernel.py"), "w") as copy:
            copy.write(file.read())
        run = subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *small], cwd=self.scratch.name,
                             env=dict(os.environ, PYTHONPATH=paths), capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("3 passed", run.stdout)

    def test_serving(self):
        """The authors' functions stand in for by the recurrence: what is written is judged, and is right."""
        data = os.path.join(HERE, "..", "data", "h200", "serving", "t10.safetensors")
        out = self.path("served.safetensors")
        quietly(dump_serving.main, "serving_stub", data, "-o", out, "--prefill", "8", "--cut", "3", "--device", "cpu", "--u-type", "bf16")
        names = ("prefill.o", "prefill.h", "prefill.u", "decode.o", "decode.h", "decode.u")
        file = gka_check.File(out)
        self.assertEqual(file.metadata["prefill"], "8")
        self.assertEqual(file.tensors["decode.u"][0], "BF16")
        bounds = [f"--tolerance={n}={'.04' if n[0] == 'd' else '.004'}" for n in names]
        run = gka("verify", "--oracle=fp64", *bounds, out)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual(run.stdout.count(" yes"), len(names))
        with self.assertRaises(SystemExit):
            dump_serving.main(["serving_stub", data, "-o", out, "--prefill", "99", "--device", "cpu"])

    def test_the_safetensors_package_reads_the_same(self):
        try:
            from safetensors import safe_open
        except ImportError:
            self.skipTest("safetensors is not installed")
        for name in ("packed", "fp16"):
            file = gka_check.File(self.golden[name])
            with safe_open(self.golden[name], framework="pt") as theirs:
                self.assertEqual(theirs.metadata(), file.metadata)
                self.assertEqual(sorted(theirs.keys()), sorted(file.tensors))
                for tensor in theirs.keys():
                    t = theirs.get_tensor(tensor)
                    self.assertEqual(tuple(t.shape), file.tensors[tensor][1])
                    ours = file.values(tensor)
                    self.assertTrue(torch.equal(t.double(), torch.as_tensor(ours)), tensor)
        out = {"x": torch.randn(2, 3).bfloat16()[:, 1:], "fro": torch.tensor(3.0), "o": torch.zeros(0, 2)}
        gka_check.save(self.path("saved"), out, {"a": "b"})
        with safe_open(self.path("saved"), framework="pt") as theirs:
            self.assertEqual(theirs.metadata(), {"a": "b"})
            for name, t in out.items():
                self.assertTrue(torch.equal(theirs.get_tensor(name), t))
                self.assertEqual(theirs.get_tensor(name).dtype, t.dtype)


if __name__ == "__main__":
    sys.modules["run_torch"] = sys.modules["__main__"]
    GKA = sys.argv[1]
    torch.set_num_threads(1)
    unittest.main(argv=sys.argv[:1], verbosity=2)
