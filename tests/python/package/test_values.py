"""The package says what the command says, to the last bit."""
import json

import numpy as np
import pytest

import gka

SPEC = dict(B=2, T=40, H=4, G=2, D=32, V=16, chunk=32, gate="slow", h0=True, emulate="h100")


@pytest.fixture(scope="module")
def golden(tmp_path_factory, command):
    """One golden, made by the command."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "spec.json").write_text(json.dumps(SPEC))
    command("golden", "--spec", folder / "spec.json", "-o", folder / "golden.safetensors")
    return folder / "golden.safetensors"


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_a_golden_has_the_commands_bytes(golden, tmp_path):
    gka.golden(tmp_path / "ours", **SPEC)
    assert (tmp_path / "ours").read_bytes() == golden.read_bytes()


def test_a_problem_is_the_goldens_inputs(golden):
    made = gka.problem(**{key: value for key, value in SPEC.items() if key != "emulate"})
    read = gka.Problem.load(golden)
    assert list(made) == list(read)
    assert made.parameters == read.parameters | {"normalise": "none"}
    assert all(same(made.to("numpy")[name], read.to("numpy")[name]) for name in made)


def test_exact_and_gradients(golden):
    problem, file = gka.Problem.load(golden), gka.load(golden)
    names = [name.removesuffix(".exact") for name in file if name.endswith(".exact")]
    out = gka.exact(problem, outputs=names)
    assert len(names) > 10 and all(same(out[name], file[name + ".exact"]) for name in names)
    assert out.report["forward"]["worst_bound"] < 1e-20 and out.report["forward"]["solves"] == 2 * 40 * 4
    for of, part in ("o", "layer"), ("x", "solve"):
        for name, value in gka.gradients(problem, of=of).items():
            if f"{part}.{name}.exact" in file:
                assert same(value, file[f"{part}.{name}.exact"]), (part, name)
    assert same(gka.exact(problem, outputs=["x"], oracle="mpfr/300").x, file["x.exact"])


def test_emulate(golden):
    problem, file = gka.Problem.load(golden), gka.load(golden)
    names = [name.removesuffix(".h100") for name in file if name.endswith(".h100")]
    out = gka.emulate("h100", problem, outputs=names)
    assert len(names) > 10 and all(same(out[name], file[name + ".h100"]) for name in names)
    wide = gka.emulate("h100", problem, outputs=names, stored=False)
    assert all(wide[name].dtype == np.float64 and same(wide[name].astype(out[name].dtype), out[name]) for name in names)
    steps = gka.emulate("steps", problem, outputs=["x"], stored=False)
    assert same(steps.x, file["x.steps"])


def test_a_verdict_is_the_commands(golden, tmp_path, command):
    file = gka.load(golden)
    candidate = {name.removesuffix(".h100"): file[name] for name in file if name.endswith(".h100")}
    candidate["x"] = (candidate["x"].astype(np.float32) * np.float32(1.03)).astype(candidate["x"].dtype)
    path = tmp_path / "candidate.safetensors"
    gka.save(path, candidate)
    for options, how in (([], {}), (["--require=all", "--reference=exact"], dict(require="all", reference="exact")),
                         (["--gradients=auto", "--require=x,o"], dict(gradients="auto", require=["x", "o"]))):
        text = command("judge", path, golden, *options, code=(0, 1))
        figures = command("judge", path, golden, "--json=-", *options, code=(0, 1))
        for verdict in gka.judge(candidate, golden, **how), gka.judge(path, golden, **how):
            assert text == f"{path} against {golden}\n\n{verdict}"
            assert not verdict and verdict.ok is False and verdict["x"]["ok"] is False
            assert verdict.failed == figures["failed"] and verdict.judged == figures["judged"]
            for ours, theirs in zip(verdict.rows, figures["tensors"], strict=True):
                for key, value in theirs.items():
                    if value == "NaN":
                        assert ours[key] != ours[key]
                    else:
                        assert ours[key] == (float("inf") if value == "Infinity" else value), (ours["name"], key)


def test_a_verdict_in_another_layout_and_by_other_names(golden):
    file = gka.load(golden)
    plain = {"x": file["x.h100"], "o": file["o.h100"], "fro": file["fro.h100"]}
    turned = {"mine": plain["x"].swapaxes(1, 2), "o": plain["o"].swapaxes(1, 2), "fro": plain["fro"].swapaxes(1, 2)}
    a, b = gka.judge(plain, golden), gka.judge(turned, golden, names={"mine": "x"}, layout="bhtd")
    assert a and b and [row["error"] for row in a.rows if "error" in row] == [row["error"] for row in b.rows if "error" in row]
    with pytest.raises(gka.BadArgument, match="no output is called 'out'"):
        gka.judge({"out": plain["o"]}, golden)
    with pytest.raises(gka.BadArgument, match="did you mean 'layer.dalpha'"):
        gka.judge(plain, golden, require="dalpha")
    with pytest.raises(gka.BadFile, match="tensor 'x'"):
        gka.judge({"x": plain["x"][:1]}, golden)


def test_attribute_condition_spectrum(tmp_path, command):
    problem = gka.problem(B=2, T=40, H=2, G=1, D=32, V=16, chunk=32, gate="slow")
    path = tmp_path / "problem"
    problem.save(path)
    said = command("attribute", path, "--json=-")
    ours = gka.attribute(problem, outputs=["fro", "x", "o"])
    assert len(said["points"]) == len(gka.points)
    for row in said["points"]:
        assert gka.points[row["point"]] == row["text"]
        assert all(ours[name]["only"][row["point"]] == row["only"][name] for name in ours)
        assert all(ours[name]["without"][row["point"]] == row["without"][name] for name in ours)
    assert ours.blame("fro") == "norm_reduce"
    assert command("attribute", path).endswith("steps\n\n" + str(ours)) and " without" in str(ours) and " alone makes " in str(ours)
    assert {name: ours[name]["released"] for name in ours} == said["released"]
    rows = {row["name"]: row for row in gka.condition(problem, names=["x", "layer.dk"])}
    assert rows["x"]["word"] == "stable" and rows["layer.dk"]["of"]["k"]["kappa"] > 0
    whole = gka.spectrum(gka.problem(T=128, D=16, gate="none", plain=True), tokens=range(1, 129))  # by Lanczos, and by LAPACK
    assert np.allclose(whole.largest[0, :, 0], whole.conditioning["largest"][0, 0], rtol=1e-12, atol=0)
    spectrum = gka.spectrum(problem)
    assert spectrum.fro.shape == (2, 40, 2) and np.all(spectrum.largest <= spectrum.fro * (1 + 1e-12))
    assert spectrum.tokens == [1, 2, 4, 8, 16, 32, 40] and spectrum.conditioning["kappa"].shape == (2, 2, 7)
    assert np.allclose(spectrum.conditioning["f"][:, :, -1], spectrum.fro[:, -1])
    assert np.allclose(spectrum.conditioning["kappa"], (spectrum.conditioning["largest"] + .02 * spectrum.conditioning["f"])
                       / (spectrum.conditioning["smallest"] + .02 * spectrum.conditioning["f"]))


def test_rounding():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.random.default_rng(1).standard_normal(10000) * np.exp2(np.random.default_rng(2).integers(-12, 9, 10000))
    x = x.astype(np.float32)  # ml_dtypes rounds float32 once
    for name, dtype in ("bf16", ml_dtypes.bfloat16), ("fp16", np.float16), ("e5m2-ieee", ml_dtypes.float8_e5m2):
        assert np.array_equal(gka.round(x, name), x.astype(dtype).astype(np.float64)), name
        assert np.array_equal(gka.round(gka.round(x, name), name, "up"), gka.round(x, name))
    assert gka.round([1.1, -1.1], "bf16", "zero").tolist() == [1.09375, -1.09375]
    assert gka.round(1.1, "bf16", "up").item() == 1.1015625
    a = gka.round(x, "bf16", "stochastic", seed=3)
    assert np.array_equal(a[5:], gka.round(x[5:], "bf16", "stochastic", seed=3, first=5))
    assert not np.array_equal(a, gka.round(x, "bf16", "stochastic", seed=4))
    assert np.array_equal(gka.round(gka.round(x, "mxfp4"), "mxfp4"), gka.round(x, "mxfp4"))
    for name, made in ("bf16", "p8e8"), ("fp16", "p11e5"):
        assert np.array_equal(gka.round(x, made, "up"), gka.round(x, name, "up"))
    for wrong in (dict(format="bf17"), dict(format="p8e8-acc32"), dict(format="p99e3"), dict(format="bf16", mode="sideways"),
                  dict(format="mxfp4", mode="up")):
        with pytest.raises(gka.BadArgument):
            gka.round(x, **wrong)


def test_tables(command):
    formats, blocks = (table.splitlines()[1:] for table in command("formats").split("\n\n"))
    assert [line.split()[0] for line in formats] == list(gka.formats)
    assert [line.split()[0] for line in blocks] == list(gka.block_formats)
    assert gka.formats["e4m3"].max_finite == 448 and gka.formats["bf16"].unit_roundoff == 2.0 ** -8
    assert gka.block_formats["nvfp4"].block == 16
    named = {line.split()[0] for line in command("devices").split("\n\n")[0].splitlines()[1:] if not line.startswith(" ")}
    assert named == set(gka.devices)
    assert gka.devices["h100"].inputs["bf16"]["group"] == 16 and "cg" in gka.solvers and "bf16-acc32" in gka.arithmetics


def test_solve():
    rng = np.random.default_rng(0)
    K = rng.standard_normal((50, 16)) / 4
    H, q = K.T @ K, rng.standard_normal(16)
    lam = .02 * np.linalg.norm(H)
    truth = np.linalg.solve(H + lam * np.eye(16), q)
    for method in gka.solvers:
        solution = gka.solve(H, q, method=method, iterations=100)
        if method not in ("gradient", "cg-stop", "cg-guarded"):
            assert np.linalg.norm(solution.x - truth) < 1e-9 * np.linalg.norm(truth), method
    rough = gka.solve(H, q, arithmetic="bf16")
    assert 1e-4 < rough.residual < 1 and rough.residuals[-1] == rough.residual and len(rough.steps) == 31
    assert gka.solve(H, q, lam=lam).x.tobytes() == gka.solve(H, q).x.tobytes()
    for wrong in dict(method="gauss"), dict(arithmetic="bf17"), dict(lam=-1.0):
        with pytest.raises(gka.BadArgument):
            gka.solve(H, q, **wrong)
    with pytest.raises(gka.BadArgument, match=r"\[D,D\]"):
        gka.solve(H[:3], q)


def test_compare():
    a = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    assert gka.compare(a, a).bits_equal
    c = gka.compare(a, a.astype(np.float64) * [[1, 1, 1], [1 + 2.0 ** -23, 1, 1]])
    assert c.equal == 5 and c.max_ulp == 1 and c.at == (1,) and c.count == 6
    with pytest.raises(gka.BadArgument, match="one shape"):
        gka.compare(a, a[:1])


def test_packed_and_folded():
    problem = gka.problem(lengths=[17, 0, 5], H=2, D=16, V=8, chunk=8)
    assert problem.cu_seqlens.tolist() == [0, 17, 17, 22]
    out = gka.exact(problem, outputs=["x", "h_final"])
    assert out.h_final.shape == (3, 2, 16, 16) and not out.h_final[1].any()
    alone = problem.replace(cu_seqlens=None, **{name: problem.to("numpy")[name][:, 17:] for name in problem
                                                if name != "cu_seqlens"})
    assert np.array_equal(gka.exact(alone, outputs=["x"]).x, out.x[:, 17:])
    raw = gka.problem(T=9, D=16, V=8).replace(beta=np.full((1, 9, 1), .5, np.float32), normalise="unit")
    with pytest.raises(gka.Error, match="fold"):
        gka.exact(raw)
    assert gka.exact(raw.fold()).o.shape == (1, 9, 1, 8)


SERVED = ["prefill.o", "prefill.h", "prefill.u", "decode.o", "decode.h", "decode.u"]


def test_a_golden_of_a_server(command, tmp_path):
    """The command's bytes; its references pass as a candidate's arrays and as a file, a state handed on from elsewhere fails."""
    gka.golden(tmp_path / "ours", serving=True, T=20, prefill=18, D=64, H=2, G=1, iters=3, u_type="bf16")
    command("golden", "--serving", "--T=20", "--prefill=18", "--D=64", "--H=2", "--G=1", "--iters=3", "--u-type=bf16",
            "-o", tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    file = gka.load(tmp_path / "ours")
    assert (file.metadata["prefill"], file.metadata["normalise"]) == ("18", "unit")
    right = {name: file[name + ".steps"].astype(np.float32) for name in SERVED}
    verdict = gka.judge(right, tmp_path / "ours", require="all")
    assert verdict.ok and [row["name"] for row in verdict.rows] == SERVED and verdict.judged == 6
    gka.save(tmp_path / "candidate", right)
    assert gka.judge(tmp_path / "candidate", tmp_path / "ours").ok
    wrong = gka.judge(right | {"decode.h": right["prefill.h"]}, tmp_path / "ours")
    assert wrong.failed == 1 and wrong["decode.h"]["ok"] is False
    with pytest.raises(gka.BadArgument, match="a golden of a server"):
        gka.golden(tmp_path / "none", T=20, prefill=10)
    with pytest.raises(gka.BadArgument, match="h-type is 'e4m3'"):
        gka.golden(tmp_path / "none", serving=True, T=20, h_type="e4m3")
