"""What `--json` of every command writes is what the schema beside its source says (src/cli/NAME.schema.json).

usage: schemas.py GKA    (GKA: the program). Exit status 77: the package jsonschema is missing.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import jsonschema
except ImportError:
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
CLI = os.path.join(HERE, "..", "..", "src", "cli")
FILES = os.path.join(HERE, "..", "data", "h100")
PROBES = os.path.join(HERE, "..", "data", "probes")
GKA = None


def gka(*arguments, code=(0, 1)):
    run = subprocess.run([GKA, *arguments], capture_output=True, text=True)
    if run.returncode not in code:
        raise AssertionError(f"gka {' '.join(arguments)}: {run.returncode}: {run.stderr}")
    return run.stdout


def schema(name):
    with open(os.path.join(CLI, name + ".schema.json")) as file:
        return json.load(file)


def closed(part):
    """No object of a schema is open to members that it does not name."""
    if isinstance(part, dict):
        if part.get("type") == "object" and "additionalProperties" not in part:
            return False
        return all(closed(value) for value in part.values())
    return all(closed(value) for value in part) if isinstance(part, list) else True


class Schemas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.place = lambda name: os.path.join(cls.scratch.name, name)
        gka("golden", "--T=12", "--D=16", "--H=2", "--G=1", "--chunk=8", "--h0", "-o", cls.place("g"))
        gka("golden", "--audit", cls.place("g"), "--write=trace", "-o", cls.place("wrong"))
        gka("golden", "--audit", cls.place("g"), "--write=steps", "-o", cls.place("right"))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def holds(self, name, *arguments):
        report = json.loads(gka(*arguments, "--json=-"))
        jsonschema.validate(report, schema(name))
        return report

    def test_every_report(self):
        place, decode, d64 = Schemas.place, os.path.join(FILES, "decode.safetensors"), os.path.join(FILES, "d64.safetensors")
        self.holds("verify", "verify", decode, "--emulate=h100", "--tolerance=x=.004")
        self.assertEqual(len(self.holds("verify", "verify", decode, d64)), 2)
        self.assertEqual(len(self.holds("against", "verify", place("right"), place("wrong"), "--against", place("g"))), 2)
        self.holds("audit", "golden", "--audit", place("g"))
        self.holds("condition", "condition", "--emulate=h100", "--T=8", "--D=16")
        self.holds("condition", "condition", "--iterations", "--T=4", "--D=4")
        self.holds("attribute", "attribute", "--T=16", "--D=16", "--gradients")
        self.holds("compare", "compare", "--T=8", "--D=16", "--layers=gka,kda")
        self.holds("spectrum", "spectrum", decode)
        self.holds("spectrum", "spectrum", "--T=8", "--D=16", "--H=2")
        self.assertEqual(len(self.holds("heads", "spectrum", "--T=8", "--D=16", "--H=2", "--per-head")), 2)
        self.assertEqual(len(self.holds("heads", "verify", "--emulate=h100,tokens/fp32", "--T=8", "--D=16", "--H=2")), 2)
        self.holds("devices", "devices", "--fit", os.path.join(PROBES, "fit.safetensors"))
        for command in (("condition", "--emulate=h100"), ("attribute",)):
            self.assertEqual(len(self.holds("heads", *command, "--T=8", "--D=16", "--H=2", "--per-head")), 2)
        self.holds("solve", "solve", "--D=4", "--T=3", "--solver=cg,kalman")

    def test_every_command_has_a_schema_that_is_closed(self):
        names = [name[:-len(".schema.json")] for name in os.listdir(CLI) if name.endswith(".schema.json")]
        with open(__file__) as file:
            tested = file.read()
        for name in names:
            self.assertIn(f'self.holds("{name}"', tested)
            self.assertTrue(closed(schema(name)), name)
            jsonschema.Draft202012Validator.check_schema(schema(name))
        # A source that writes a report; units.c writes the parts of one, for the same command to read.
        for name in os.listdir(CLI):
            with open(os.path.join(CLI, name)) as file:
                if name.endswith(".c") and name not in ("json.c", "units.c") and "cli_json_close(" in file.read():
                    self.assertIn(name[:-2], names)

    def test_a_schema_can_fail(self):
        report = json.loads(gka("solve", "--D=4", "--T=3", "--solver=cg", "--json=-"))
        for change in (lambda r: r.pop("schema"), lambda r: r["rows"][0].pop("kappa"), lambda r: r.update(more=1)):
            wrong = json.loads(json.dumps(report))
            change(wrong)
            with self.assertRaises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema("solve"))


if __name__ == "__main__":
    GKA = sys.argv[1]
    unittest.main(argv=sys.argv[:1], verbosity=2)
