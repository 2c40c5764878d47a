"""scripts/gpu/gka_check.py says what `gka verify --against` says: verdicts, places, and figures to n kappa u.

usage: check.py GKA [all]    (GKA: the program; all: every member of both audit panels over the quick suite, some minutes).
Runs with numpy, and again with torch alone where it is installed; exit status 77: neither is.
"""
import contextlib
import importlib
import importlib.util
import io
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "scripts", "gpu"))
SIZE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
GKA = None
EVERY = 8  # of the pairs of golden and audit member
RARE = {"low-states", "fp16", "tf32"}  # apply to one golden of the quick suite: every time


def gka(*arguments, code=(0,)):
    run = subprocess.run([GKA, *arguments], capture_output=True, text=True)
    if run.returncode not in code:
        raise AssertionError(f"gka {' '.join(arguments)}: {run.returncode}: {run.stderr}")
    return run


# ---- safetensors without any library ---------------------------------------------------------------------------------------

def read(path):
    """metadata, {name: [dtype, shape, bytes]}"""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    return metadata, {name: [t["dtype"], t["shape"], data[slice(*t["data_offsets"])]] for name, t in header.items()}


def write(path, tensors, metadata=None):
    header, at = {"__metadata__": metadata or {}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def pack(dtype, values):
    if dtype == "BF16":  # rounded to odd to binary32 would be needed for nearest; cutting will do for candidates
        return b"".join(struct.pack("<f", x)[2:] for x in values)
    return struct.pack(f"<{len(values)}{ {'F64': 'd', 'F32': 'f', 'F16': 'e'}[dtype]}", *values)


def unpack(dtype, data):
    if dtype == "BF16":
        data, dtype = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2)), "F32"
    return list(struct.unpack(f"<{len(data) // SIZE[dtype]}{ {'F64': 'd', 'F32': 'f', 'F16': 'e'}[dtype]}", data))


# ---- goldens ---------------------------------------------------------------------------------------------------------------

# B T H G D V, ragged ends, initial states, all gates, types; `edit` changes the inputs of a first golden
SPECS = {
    "grouped": dict(B=2, T=40, H=4, G=2, D=32, V=16, chunk=32, gate="slow", h0=True, emulate="h100"),
    "strong": dict(T=70, H=2, D=16, V=16, chunk=16, gate="strong", emulate="h100"),
    "ungated": dict(T=48, D=32, V=32, chunk=16, gate="none", alpha=False, emulate="h100"),
    "fp32": dict(T=30, H=2, D=12, V=5, chunk=8, dtype="fp32", h0=True),
    "fp16": dict(T=30, D=8, V=8, chunk=8, dtype="fp16", problem="repeat"),
    "no_values": dict(T=20, D=8, V=0, chunk=7),
    "cuts": dict(T=60, H=2, D=16, V=16, chunk=16, h0=True),
    "final": dict(T=37, D=16, V=8, chunk=16, gate="slow", h0=True, final=True),
    "stage": dict(T=37, D=16, V=8, chunk=16, gate="slow", h0=True, stage="dk", given="x,p,f,h_chunk"),
    "packed": dict(T=60, H=2, G=1, D=16, V=16, chunk=16),
}


def edit(name, tensors):
    if name == "cuts":  # zero gates; zero keys: an empty state
        dtype, shape, data = tensors["g"]
        g = unpack(dtype, data)
        for t, h in ((0, 0), (5, 0), (16, 0), (17, 0), (31, 1), (59, 1)):
            g[t * 2 + h] = -math.inf
        tensors["g"][2] = pack(dtype, g)
        dtype, shape, data = tensors["k"]
        k = unpack(dtype, data)
        for h, tokens in ((0, range(0, 3)), (1, range(31, 34))):
            for t in tokens:
                k[(t * 2 + h) * 16:(t * 2 + h + 1) * 16] = [0.0] * 16
        tensors["k"][2] = pack(dtype, k)
        h0 = unpack("F32", tensors["h0"][2])  # not symmetric
        tensors["h0"][2] = pack("F32", [x * (1 + .01 * (i % 16 > i // 16 % 16)) for i, x in enumerate(h0)])
    if name == "packed":  # an empty sequence, too
        tensors["cu_seqlens"] = ["I64", [5], struct.pack("<5q", 0, 23, 23, 24, 60)]


def make_golden(name, folder):
    path = os.path.join(folder, name + ".safetensors")
    spec = os.path.join(folder, name + ".json")
    with open(spec, "w") as file:
        json.dump(SPECS[name], file)
    gka("golden", "--spec", spec, "-o", path)
    if name in ("cuts", "packed"):
        metadata, tensors = read(path)
        inputs = {n: t for n, t in tensors.items() if "." not in n and n not in ("x", "fro", "o")}
        edit(name, inputs)
        write(path + ".in", inputs, {n: metadata[n] for n in ("ridge_ratio", "num_iter", "chunk_size", "scale")})
        gka("golden", "--input", path + ".in", "-o", path)
    return path


# ---- candidates ------------------------------------------------------------------------------------------------------------

def good(tensors, dtype_of_inputs):
    """The emulated kernel's outputs, or the steps values cut to the stored type."""
    out = {}
    for name, (dtype, shape, data) in tensors.items():
        if name.endswith(".h100"):
            out[name[:-5]] = [dtype, shape, data]
    for name, (dtype, shape, data) in tensors.items():
        if name.endswith(".steps") and name[:-6] not in out:
            wide = name[:-6] in ("fro", "h_final", "u_final", "solve.dg", "solve.dh0", "layer.dg")
            to = "F32" if wide else dtype_of_inputs
            out[name[:-6]] = [to, shape, pack(to, unpack(dtype, data))]
    return out


def mutate(candidate, name, draw):
    dtype, shape, data = candidate[name]
    x = unpack(dtype, data)
    kind = draw.choice(["zero", "half", "minus", "noise", "near", "one", "nan", "inf", "rows", "wide"])
    if kind in ("zero", "half", "minus"):
        x = [{"zero": 0, "half": .5, "minus": -1}[kind] * a for a in x]
    elif kind in ("noise", "near"):
        size = 10 ** draw.uniform(-4, -.5)
        x = [a * (1 + size * draw.gauss(0, 1)) for a in x]
    elif kind == "rows":
        x = x[len(x) // 2:] + x[:len(x) // 2]
    elif kind == "wide":
        dtype = draw.choice(["F64", "F32"])
    else:
        for i in draw.sample(range(len(x)), min(3, len(x))):
            x[i] = {"one": 30.0 * x[i] + 1, "nan": math.nan, "inf": -math.inf}[kind]
    candidate[name] = [dtype, shape, pack(dtype, x)]
    return f"{name} {kind}"


def heads_first(candidate):
    """[B,T,H,..] as [B,H,T,..]"""
    for name, (dtype, shape, data) in candidate.items():
        if name in ("h_chunk", "h_final", "u_final", "solve.dh0"):
            continue
        (B, T, H), row = shape[:3], SIZE[dtype] * math.prod(shape[3:])
        at = lambda b, t, h: ((b * T + t) * H + h) * row
        turned = b"".join(data[at(b, t, h):at(b, t, h) + row] for b in range(B) for h in range(H) for t in range(T))
        candidate[name] = [dtype, [B, H, T, *shape[3:]], turned]


class Check(unittest.TestCase):
    scratch = tempfile.TemporaryDirectory()
    goldens = {}

    @classmethod
    def setUpClass(cls):
        if not cls.goldens:  # else they are there from the other package's turn
            cls.goldens.update((name, make_golden(name, cls.scratch.name)) for name in SPECS)
            gka("golden", "--suite=quick", "-o", os.path.join(cls.scratch.name, "quick"))

    def same(self, what, golden, ours, theirs):
        """n kappa u, n = T D terms behind an element, kappa = (a+1)/a; a factor 64 for constants"""
        metadata, tensors = read(golden)
        a, (_, T, _, D) = float(metadata["ridge_ratio"]), tensors["q"][1]
        bound = 64 * T * D * (a + 1) / a * 2.0 ** -53
        self.assertEqual(sorted(row["name"] for row in theirs), sorted(row["name"] for row in ours))
        by_name = {row["name"]: row for row in theirs}
        for row in ours:
            other = by_name[row["name"]]
            for key, value in row.items():
                if key in ("error", "row_error", "steps", "local", "inherited", "total", "through") and isinstance(value, float):
                    self.assertIsInstance(other[key], float, f"{what}: {row['name']}.{key}: {value}")
                    gap = abs(value - other[key])
                    self.assertLessEqual(gap, bound * max(abs(value), 1), f"{what}: {row['name']}.{key}: {value} {other[key]}")
                elif key in ("first", "worst"):
                    for part in ("at", "out_hex"):
                        self.assertEqual(value[part], other[key][part], f"{what}: {row['name']}.{key}.{part}")
                elif value in ("nan", "inf"):  # gka writes null for a NaN of a figure that may be absent
                    allowed = {"nan": [None, "NaN"], "inf": ["Infinity"]}[value]
                    if key == "inherited":
                        allowed = [None, "NaN", "Infinity"]
                    self.assertIn(other[key], allowed, f"{what}: {row['name']}.{key}")
                else:
                    self.assertEqual(value, other[key], f"{what}: {row['name']}.{key}")

    def compare(self, what, golden, candidate, *options):
        path, ours, theirs = (os.path.join(self.scratch.name, n) for n in ("candidate", "ours.json", "theirs.json"))
        write(path, candidate)
        with open(os.devnull, "w") as null:
            sys.stdout, saved = null, sys.stdout
            try:
                code = gka_check.main([path, golden, "--json", ours, *options])
            finally:
                sys.stdout = saved
        run = gka("verify", path, "--against", golden, "--json", theirs, *options, code=(0, 1))
        self.assertEqual(code, run.returncode, what)
        with open(ours) as a, open(theirs) as b:
            rows = json.load(a)[0]["tensors"]
            self.same(what, golden, rows, json.load(b)["tensors"])
        return {row["name"]: row for row in rows}

    def test_right_candidates(self):
        for name, golden in self.goldens.items():
            tensors = read(golden)[1]
            rows = self.compare(name, golden, good(tensors, tensors["q"][0]))
            wrong = [n for n, row in rows.items() if row["ok"] is False]
            # the emulated dh0 has the released sign (NUMERICS 5)
            self.assertEqual(wrong, ["solve.dh0"] if SPECS[name].get("h0") and "emulate" in SPECS[name] else [], name)

    def test_exact_candidates(self):
        """By NAME.exact, and a dh0 of which there is the symmetric part alone."""
        for name in ("fp32", "final", "ungated"):
            tensors = read(self.goldens[name])[1]
            exact = {n[:-6] + ".steps": t for n, t in tensors.items() if n.endswith(".exact")}
            candidate = good(exact, tensors["q"][0])
            if "solve.dh0" in candidate:
                dtype, shape, data = candidate["solve.dh0"]
                x, D = unpack(dtype, data), shape[-1]
                at = lambda i: i - i % (D * D) + i % D * D + i % (D * D) // D  # the place across the diagonal
                candidate["solve.dh0"][2] = pack(dtype, [(a + x[at(i)]) / 2 for i, a in enumerate(x)])
            rows = self.compare(name, self.goldens[name], candidate, "--reference=exact")
            self.assertEqual([n for n, row in rows.items() if row["ok"] is False], [], name)
            self.assertEqual(rows["x"]["against"], "exact")

    def test_wrong_candidates(self):
        failed = passed = unjudged = 0
        for seed in range((3 if gka_check.NUMPY else 1) * len(self.goldens)):
            draw = random.Random(seed)
            name = list(self.goldens)[seed % len(self.goldens)]
            tensors = read(self.goldens[name])[1]
            candidate = good(tensors, tensors["q"][0])
            what = [f"seed {seed}: {name}"]
            for output in draw.sample(list(candidate), draw.randint(1, 3)):
                what.append(mutate(candidate, output, draw))
            for output in draw.sample(list(candidate), draw.randint(0, 2)):
                del candidate[output]
            options = []
            if seed % 3 == 0:
                heads_first(candidate)
                options.append("--layout=bhtd")
            if seed % 4 == 0:
                their = draw.choice(list(candidate))
                candidate["theirs"] = candidate.pop(their)
                options.append(f"--map=theirs={their}")
            rows = self.compare(", ".join(what), self.goldens[name], candidate, *options)
            failed += sum(row["ok"] is False for row in rows.values())
            passed += sum(row["ok"] is True for row in rows.values())
            unjudged += sum(row["ok"] is None for row in rows.values())
        self.assertGreater(min(failed, passed, unjudged), 5)

    def test_audit_panels(self):
        """Members of both panels: the audit's error and verdict of every tensor."""
        suite, judged, failing, seen = os.path.join(self.scratch.name, "quick"), 0, 0, set()
        names = sorted(os.listdir(suite))
        names.remove("index.json")
        for g, name in enumerate(names):
            golden, candidate = os.path.join(suite, name), os.path.join(self.scratch.name, "member")
            if (EVERY > 1 and os.path.getsize(golden) > 400e3) or (not gka_check.NUMPY and g % 4):
                continue
            report = json.loads(gka("golden", "--audit", golden, "--json=-", code=(0, 1)).stdout)
            tolerance = {one["name"]: one["tolerance"] for one in report["tensors"]}
            for m, member in enumerate(report["members"]):
                if not member["applies"] or ((g + m) % EVERY and member["name"] not in RARE):
                    continue
                what = f"{name}: {member['name']}"
                gka("golden", "--audit", golden, "--write", member["name"], "-o", candidate)
                rows = gka_check.check(candidate, golden)
                audit = [{"name": n, "error": e} for n, e in member["errors"].items() if tolerance[n] is not None]
                # The audit's error is the larger of the error and the row error at the tolerances' ratio.
                whole = lambda r: r.error if r.row_tolerance is None or not r.error >= 0 else (
                    max(r.error, r.row_error * (r.tolerance / r.row_tolerance)))
                ours = [{"name": r.name, "error": gka_check.plain(whole(r))} for r in rows if r.tolerance and not r.missing]
                there = {r["name"] for r in ours}
                self.assertTrue(all(r["error"] is None for r in audit if r["name"] not in there), what)
                audit = [r for r in audit if r["name"] in there]
                self.same(what, golden, ours, audit)
                wrong = [r.name for r in rows if r.ok is False]
                fails = lambda r: not isinstance(r["error"], float) or r["error"] > tolerance[r["name"]]
                self.assertEqual(wrong, [r["name"] for r in audit if fails(r)], what)
                self.assertEqual(not wrong, member["good"] == (member["panel"] == "accept"), what)
                judged, failing = judged + 1, failing + bool(wrong)
                seen.add(member["name"])
        print(f"{judged} members judged, {failing} fail", file=sys.stderr)
        self.assertGreater(min(failing, judged - failing), 2)
        if gka_check.NUMPY:
            self.assertEqual(RARE - seen, set())

    def test_folders(self):
        suite, folder = os.path.join(self.scratch.name, "quick"), tempfile.mkdtemp(dir=self.scratch.name)
        with self.assertRaisesRegex(gka_check.Bad, "none of the"):
            gka_check.pairs(folder, suite)
        for name in ("fp16.safetensors", "strong.safetensors"):
            tensors = read(os.path.join(suite, name))[1]
            write(os.path.join(folder, name), good(tensors, tensors["q"][0]))
        pairs = gka_check.pairs(folder, suite)
        self.assertEqual([os.path.basename(a) for a, _ in pairs], [os.path.basename(b) for _, b in pairs])
        self.assertEqual(len(pairs), 2)
        for candidate, golden in pairs:
            self.assertTrue(gka_check.passes(candidate, golden))
        with open(os.path.join(suite, "fp32.safetensors"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        with self.assertRaisesRegex(gka_check.Bad, "not the file that"):
            gka_check.goldens(suite)
        with open(os.path.join(suite, "fp32.safetensors"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(last)

    def test_bad_files(self):
        golden = self.goldens["fp16"]
        candidate = good(read(golden)[1], "F16")
        bad = os.path.join(self.scratch.name, "bad")
        lines = []

        def complaint(*files):
            with open(bad + ".err", "w") as err, contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(gka_check.main(list(files)), 2)
            with open(bad + ".err") as file:
                lines.append(file.read())

        B, T, H, D = candidate["x"][1]
        candidate["x"][1] = [B, H, T, D]
        write(bad, candidate)
        complaint(bad, golden)
        self.assertIn("tensor 'x': F16 [1, 1, 30, 8]; floating-point numbers [1, 30, 1, 8] were expected; --layout bhtd?",
                      lines[-1])
        candidate["x"][1] = [B, T, D, H]
        write(bad, candidate)
        complaint(bad, golden)
        self.assertIn("tensor 'x': F16 [1, 30, 8, 1]; floating-point numbers [1, 30, 1, 8] were expected\n", lines[-1])
        candidate["x"][1] = [B, T, H, D]
        write(bad, {"y": candidate["x"]})
        complaint(bad, golden)
        self.assertIn("nothing to judge; a tensor 'x' or", lines[-1])
        for said, what in (("y", "THEIRS=OURS was expected"), ("y=xx", "no output has that name (did you mean 'x'?)"),
                           ("y=x --map z=x", "x is mapped twice"), ("y=x --map z=o", "no candidate has a tensor 'z'")):
            complaint(bad, golden, "--map", *said.split())
            self.assertIn(what, lines[-1])
        complaint(bad, golden, "--map", "y=x", "--json", self.scratch.name)
        self.assertIn("cannot be written: Is a directory", lines[-1])
        complaint(os.path.join(self.scratch.name, "nothing"), golden)
        self.assertIn("nothing: No such file or directory", lines[-1])
        with open(bad, "r+b") as file:
            whole = file.read()
            file.truncate(len(whole) - 1)
        complaint(bad, golden)
        self.assertIn("cut short?", lines[-1])
        with open(bad, "wb") as file:
            file.write(whole)
        with self.assertRaisesRegex(gka_check.Bad, "no output is called 'dk' .did you mean 'solve.dk'"):
            gka_check.check({"dk": gka_check.xp.zeros((1, 30, 1, 8))}, golden)
        complaint(golden, bad)
        self.assertIn("'tolerances' is missing", lines[-1])
        complaint(__file__, golden)
        self.assertIn("not a safetensors file", lines[-1])
        metadata, tensors = read(golden)
        tensors["q"][2] = b"\1" + tensors["q"][2][1:]
        write(bad, tensors, metadata)
        complaint(golden, bad)
        self.assertIn("hashes to", lines[-1])

    def test_readme_quotes_the_pytest_example(self):
        with open(os.path.join(HERE, "test_kernel.py")) as file:
            example = "".join("    " + line if line.strip() else line for line in file)
        with open(os.path.join(HERE, "..", "..", "README.md")) as file:
            self.assertIn("\n\n" + example, file.read())

    def test_encodings(self):
        self.assertEqual(gka_check.encoding(-0.0, "BF16"), "0x8000")
        self.assertEqual(gka_check.encoding(2.0 ** -134, "BF16"), "0x0000")  # a tie, to even
        self.assertEqual(gka_check.encoding(3 * 2.0 ** -134, "BF16"), "0x0002")
        self.assertEqual(gka_check.encoding(1 + 2.0 ** -8, "BF16"), "0x3F80")
        self.assertEqual(gka_check.encoding(2 - 2.0 ** -9, "BF16"), "0x4000")
        self.assertEqual(gka_check.encoding(3.4e38, "BF16"), "0x7F80")
        self.assertEqual(gka_check.encoding(65519.0, "F16"), "0x7BFF")
        self.assertEqual(gka_check.encoding(-65520.0, "F16"), "0xFC00")
        self.assertEqual(gka_check.encoding(1.1, "F64"), f"0x{struct.unpack('<Q', struct.pack('<d', 1.1))[0]:016X}")
        self.assertEqual(gka_check.encoding(5e-324, "F64"), "0x0000000000000001")


def load(numpy):
    """The module as it is where only one of the two packages is installed."""
    global gka_check
    sys.modules.pop("gka_check", None)
    if not numpy:
        saved = sys.modules.get("numpy")
        import torch  # before numpy is hidden, which it looks for itself
        del torch
        sys.modules["numpy"] = None
    gka_check = importlib.import_module("gka_check")
    if not numpy:
        del sys.modules["numpy"]
        if saved is not None:
            sys.modules["numpy"] = saved


def main(program, how="some"):
    global GKA, EVERY
    GKA, EVERY = program, 1 if how == "all" else EVERY
    ran, good_so_far = 0, True
    for numpy in (True, False):
        package = "numpy" if numpy else "torch"
        if importlib.util.find_spec(package) is None:
            print(f"skipped with {package}: it is not installed", file=sys.stderr)
            continue
        load(numpy)
        print(f"with {package}", file=sys.stderr, flush=True)
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(Check)
        good_so_far &= unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful()
        ran += 1
    return 77 if ran == 0 else 0 if good_so_far else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
