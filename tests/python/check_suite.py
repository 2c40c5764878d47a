"""check_torch.py over a suite: one golden's exception or wrong shape does not stop the others, each golden is named first, and
what a function does not take is skipped, there and in a test of one's own. Without torch: what runs is made up.

usage: check_suite.py GKA
"""
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts", "gpu"))
try:
    import numpy as np
except ImportError:
    sys.exit(77)
try:
    import torch  # noqa: F401
except ImportError:  # nothing of it is called here
    fake = types.ModuleType("torch")
    fake.cuda = types.SimpleNamespace(is_available=lambda: False)
    sys.modules["torch"] = fake
import check_torch  # noqa: E402
import gka_check  # noqa: E402

GKA = None


class Suite(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.golden = os.path.join(self.scratch.name, "g.safetensors")
        subprocess.run([GKA, "golden", "--T=5", "--D=4", "--V=4", "--plain", "--outputs=forward", "-o", self.golden], check=True)
        self.names = [f"{self.golden}.{i}" for i in range(4)]
        for name in self.names:
            os.link(self.golden, name)
        self.exact = {n: gka_check.File(self.golden).values(n + ".steps") for n in ("x", "o")}

    def tearDown(self):
        self.scratch.cleanup()

    def suite(self, run):
        """check_torch.main over four goldens; run(place) makes what each gives."""
        saved = check_torch.run, gka_check.goldens, check_torch.find
        check_torch.run = lambda function, golden, *rest: run(self.names.index(golden))
        gka_check.goldens = lambda path: self.names
        check_torch.find = lambda name: None
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                code = check_torch.main(["a:b", self.scratch.name])
        finally:
            check_torch.run, gka_check.goldens, check_torch.find = saved
        return code, out.getvalue()

    def give(self, place, otherwise):
        return {n: x.astype("float32") for n, x in self.exact.items()} if place != 1 else otherwise()

    def test_an_exception(self):
        def fault():
            raise RuntimeError("no memory on the device")
        code, out = self.suite(lambda place: self.give(place, fault))
        self.assertEqual(code, 1, out)
        self.assertIn(f"{self.names[1]}\n  NO: RuntimeError: no memory on the device\n{self.names[2]}\n", out)
        self.assertIn("4 of 4 goldens run, 1 fail, 0 cannot be judged", out)

    def test_a_wrong_shape(self):
        code, out = self.suite(lambda place: self.give(place, lambda: {"x": np.zeros((1, 4, 1, 4), "float32")}))
        self.assertEqual(code, 2, out)
        self.assertRegex(out, r"g.safetensors.1\n  NO: .*\[1, 4, 1, 4\]; floating-point numbers \[1, 5, 1, 4\]")
        self.assertIn("4 of 4 goldens run, 0 fail, 1 cannot be judged", out)

    def test_what_is_not_taken(self):
        def skip():
            raise NotImplementedError("no gate")
        code, out = self.suite(lambda place: self.give(place, skip))
        self.assertEqual(code, 0, out)
        self.assertIn("  skipped: no gate\n", out)
        saved, gka_check.inputs = gka_check.inputs, lambda golden, device: {"q": 1, "cu_seqlens": 2}
        try:
            for function in (lambda q: q, lambda q, cu_seqlens, k: q, lambda **all: skip()):
                with self.assertRaises(unittest.SkipTest):
                    gka_check.call(function, self.golden)
            self.assertEqual(gka_check.call(lambda q, cu_seqlens: q + cu_seqlens, self.golden), 3)
        finally:
            gka_check.inputs = saved

    def test_names_command_no_terminal(self):
        self.assertEqual(gka_check.plain_text("a\x1b[2J\nb\x9b\u202eé"), "a\\x1b[2J\\nb\\x9b\\u202eé")

    def test_the_readme_has_the_test(self):
        with open(os.path.join(HERE, "test_kernel.py")) as file, open(os.path.join(HERE, "..", "..", "README.md")) as readme:
            lines = [line if line.strip() == "" else "    " + line for line in file]
            self.assertIn("".join(lines), readme.read())


if __name__ == "__main__":
    GKA = sys.argv[1]
    unittest.main(argv=sys.argv[:1], verbosity=2)
