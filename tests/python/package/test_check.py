"""python -m gka.check and the pytest plugin, by layers that are right, wrong, picky and broken."""
import importlib.metadata
import os
import re
import sys

import numpy as np
import pytest

import gka
import gka.check

HERE = os.path.dirname(os.path.abspath(__file__))
SLOW = {"ragged", "values"}  # by the loop over tokens


@pytest.fixture
def check(capsys):
    """Exit code and text of python -m gka.check."""
    def run(goldens, function, *options):
        code = gka.check.main([str(goldens), function, *options])
        said = capsys.readouterr()
        return code, said.out + said.err
    return run


# ---- layers of numpy: the steps, by the library -----------------------------------------------------------------------------

def steps(q, k, v=None, alpha=None, g=None, **more):
    more.pop("given", None)
    out = gka.emulate("steps", q, k, v, alpha, g, outputs=["x", "fro"] + (["o"] if v is not None else []), **more)
    return dict(out)


def wrong(**inputs):
    out = steps(**inputs)
    out["x"] = (out["x"].astype(np.float32) * np.float32(1.1)).astype(out["x"].dtype)
    return out


def broken(**inputs):
    raise RuntimeError("no memory on the device")


def broken_value(**inputs):
    raise ValueError("no such value")


def of_another_shape(q, **inputs):
    return {"x": q[:, :-1]}


def ungated(q, k, v, alpha, ridge_ratio, num_iter, chunk_size, scale):
    return steps(q, k, v, alpha, ridge_ratio=ridge_ratio, num_iter=num_iter, chunk_size=chunk_size, scale=scale)


def refuses(**inputs):
    raise NotImplementedError("no gate")


def a_tuple(**inputs):
    out = steps(**inputs)
    return out["o"], out["fro"], None


def misnamed(**inputs):
    return {"out": steps(**inputs)["o"]}


def test_layers_of_numpy(suite, check):
    code, out = check(suite, "test_check:steps", "--framework=numpy", "--require=x,fro")
    assert code == 0, out
    assert re.search(r"\n13 of 13 goldens run, 0 fail, 0 cannot be judged; \d+ outputs not judged\n$", out)
    gated = suite / "gated.safetensors"
    code, out = check(gated, "test_check:wrong", "--framework=numpy")
    assert code == 1 and re.search(r"\nx +.* NO\b", out) and "first x[" in out
    code, out = check(gated, "test_check:a_tuple", "--framework=numpy", "--outputs=o,fro,", "--require=o")
    assert code == 0, out
    code, out = check(gated, "test_check:a_tuple", "--framework=numpy")
    assert code == 2 and "3 tensors returned, 1 names in --outputs" in out


def test_one_case_does_not_stop_the_others(suite, check):
    count = len(gka.goldens(suite))
    for name, line in ("broken", "RuntimeError: no memory on the device"), ("broken_value", "ValueError: no such value"):
        code, out = check(suite, "test_check:" + name, "--framework=numpy")
        assert code == 1 and out.count(f"  NO: {line}\n") == count
        assert f"{count} of {count} goldens run, {count} fail, 0 cannot be judged" in out
    code, out = check(suite, "test_check:of_another_shape", "--framework=numpy")
    assert code == 2 and out.count("  NO: the candidate: tensor 'x'") == count
    code, out = check(suite / "fp32.safetensors", "test_check:misnamed", "--framework=numpy")
    assert code == 2 and "no output is called 'out'" in out
    code, out = check(suite, "test_check:refuses", "--framework=numpy")
    assert code == 2 and out.count("  skipped: no gate\n") == count and f"0 of {count} goldens run" in out
    code, out = check(suite, "test_check:ungated", "--framework=numpy")
    assert code == 0 and "skipped: the function takes no 'g'" in out and "1 of 13 goldens run" in out


def mesa(q, k, v, g, lam, **more):
    return gka.emulate("h100/mesa", q, k, v, g=g, lam=lam, **more)


def test_a_golden_of_mesanet(check, tmp_path):
    golden = tmp_path / "mesa"
    gka.golden(golden, lam=1.0, alpha=False, T=32, D=16, V=16)
    problem = gka.Problem.load(golden)
    assert problem.parameters["lam"] == 1 and np.array_equal(gka.exact(problem).x, gka.load(golden)["x.exact"])
    code, out = check(golden, "test_check:mesa", "--framework=numpy")
    assert code == 0 and "2 judged, 0 failed" in out, out
    code, out = check(golden, "test_check:ungated", "--framework=numpy")
    assert code == 2 and "skipped: the function takes no 'lam'" in out
    with pytest.raises(gka.Unsupported, match="constant ridge"):
        gka.emulate("h100", problem)


def test_bad_input(suite, check, tmp_path):
    for goldens, function, line in ((suite, "test_check:nothing", "MODULE:FUNCTION was expected"),
                                    (suite, "test_check:SLOW", "'SLOW' cannot be called; MODULE:FUNCTION was expected"),
                                    (suite, "no_such_module:f", "MODULE:FUNCTION was expected"),
                                    (tmp_path / "none", "test_check:steps", "gka.check: " + str(tmp_path / "none: no such golden")),
                                    (tmp_path, "test_check:steps", "index.json")):
        code, out = check(goldens, function, "--framework=numpy")
        assert code == 2 and line in out, out
    gka.save(tmp_path / "plain", {"q": np.zeros((1, 1, 1, 1))})
    with pytest.raises(gka.BadFile):
        gka.check.Golden(tmp_path / "plain")


def test_tensors_are_kept(suite, check, tmp_path, command):
    golden = suite / "grouped.safetensors"
    code, out = check(golden, "test_check:steps", "--framework=numpy", "-o", str(tmp_path / "candidate"), "--require=x")
    assert code == 0, out
    table = command("judge", tmp_path / "candidate", golden)
    assert table.partition("\n\n")[2] in out and " 0 failed," in table


def test_a_changed_golden_is_refused(suite, tmp_path):
    data = bytearray((suite / "fp32.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "changed").write_bytes(data)
    with pytest.raises(gka.BadFile, match="hashes to"):
        gka.judge({"x": gka.load(tmp_path / "changed")["x.steps"]}, tmp_path / "changed")


# ---- layers of PyTorch ------------------------------------------------------------------------------------------------------

def output_stage(q, k, v, alpha, g, scale, given, **rest):
    """o of a stage's golden: the output alone, at the x that it is handed."""
    torch = pytest.importorskip("torch")
    U, os_ = q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[3]).float(), []
    for t in range(q.shape[1]):
        U = torch.exp(g[:, t])[..., None, None] * U + k[:, t, :, :, None].float() * v[:, t, :, None].float()
        mixed = q[:, t].float() + alpha[:, t, :, None].float() * (given["x"][:, t].float() - q[:, t].float())
        os_.append(scale * (U.mT @ mixed[..., None])[..., 0])
    return torch.stack(os_, 1).to(q.dtype)


def own_gradients(cotangents, **inputs):
    """dv of the layer by its own backward, as a kernel that has one would hand it out."""
    torch = pytest.importorskip("torch")
    import layer_torch
    v = inputs["v"].requires_grad_()
    out = layer_torch.layer(**inputs)
    out["layer.dv"], = torch.autograd.grad(out["o"], v, cotangents["do"])
    return out


def in_numpy(**inputs):
    return {name: one.float().numpy() for name, one in steps(**inputs).items()}


def test_a_layer_of_torch_may_answer_in_numpy(suite, check):
    pytest.importorskip("torch")
    code, out = check(suite / "gated.safetensors", "test_check:in_numpy", "--device=cpu")
    assert code == 0 and "3 judged, 0 failed" in out, out


def test_a_layer_of_torch_with_its_gradients(suite, check):
    pytest.importorskip("torch")
    for path in gka.goldens(suite):
        if gka.check.Golden(path).name not in SLOW:
            code, out = check(path, "layer_torch:layer", "--autograd", "--device=cpu")
            assert code == 0 and "missing" not in out.replace(" 0 missing", ""), out
    code, out = check(suite / "gated.safetensors", "layer_torch:exp2", "--device=cpu")
    assert code == 1 and re.search(r"h_final .* NO\n", out)
    code, out = check(suite / "grouped.safetensors", "test_check:own_gradients", "--device=cpu")
    assert code == 0 and re.search(r"layer.dv .*yes", out), out


def test_one_stage(check, tmp_path):
    pytest.importorskip("torch")
    gka.golden(tmp_path / "stage", stage="output", T=20, D=16, V=16)
    code, out = check(tmp_path / "stage", "test_check:output_stage", "--device=cpu", "--require=o")
    assert code == 0 and re.search(r"\no .*yes", out), out


def test_the_released_kernels_way(suite, tmp_path, capsys):
    """Against a stand-in with their signatures. The types and names written, and all that passes."""
    pytest.importorskip("torch")
    sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "scripts", "gpu"))
    import dump_released
    skipped = []
    for path in gka.goldens(suite):
        name = gka.check.Golden(path).name
        if name in SLOW:
            continue
        code = dump_released.main(["released_stub", path, "-o", str(tmp_path / name), "--chunk", "--device=cpu"])
        out = capsys.readouterr().out
        if code == 2:
            skipped.append(name)
            continue
        assert code == 0 and "missing:" not in out, out
        file = gka.load(tmp_path / name, "torch")
        assert file.metadata["source"] == "output of the released GKA kernels"
        assert [str(file[n].dtype).removeprefix("torch.") for n in ("x", "fro", "h_chunk", "h_final", "solve.dk")] == \
            ["bfloat16", "float32", "bfloat16", "float32", "bfloat16"]
    assert sorted(skipped) == ["final", "fp16", "fp32"]
    assert dump_released.main(["not_there", path, "-o", str(tmp_path / "none")]) == 2
    assert "dump_released: not_there: No module named" in capsys.readouterr().err


def test_the_serving_functions_way(command, tmp_path):
    """A plain recurrence in their place: what is written is judged, and is right."""
    pytest.importorskip("torch")
    sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "scripts", "gpu"))
    import dump_serving
    data, out = os.path.join(HERE, "..", "..", "data", "h200", "serving", "t10.safetensors"), str(tmp_path / "served.safetensors")
    dump_serving.main(["serving_stub", data, "-o", out, "--prefill", "8", "--cut", "3", "--device", "cpu", "--u-type", "bf16"])
    file = gka.load(out, "torch")
    assert file.metadata["prefill"] == "8" and str(file["decode.u"].dtype) == "torch.bfloat16"
    names = ("prefill.o", "prefill.h", "prefill.u", "decode.o", "decode.h", "decode.u")
    bounds = [f"--tolerance={n}={'.04' if n[0] == 'd' else '.004'}" for n in names]
    assert command("verify", "--oracle=fp64", *bounds, out).count(" yes") == len(names)
    with pytest.raises(SystemExit):
        dump_serving.main(["serving_stub", data, "-o", out, "--prefill", "99", "--device", "cpu"])


# ---- pytest -----------------------------------------------------------------------------------------------------------------

LAYERS = """
import sys
sys.path.insert(0, {here!r})
import numpy as np, pytest
from test_check import broken, refuses, steps, wrong

@pytest.mark.gka({suite!r}, kind="numpy", require="x,fro")
def test_right(gka_golden):
    gka_golden.check(steps)

@pytest.mark.gka({gated!r}, kind="numpy")
def test_wrong(gka_golden):
    gka_golden.check(wrong)

@pytest.mark.gka({gated!r}, kind="numpy")
def test_broken(gka_golden):
    gka_golden.check(broken)

@pytest.mark.gka({gated!r}, kind="numpy")
def test_refused(gka_golden):
    gka_golden.check(refuses)

@pytest.mark.gka({gated!r}, require="o", reference="exact")
def test_by_hand(gka_golden):
    inputs = gka_golden.inputs("numpy")
    verdict = gka_golden.judge({{"o": steps(**inputs)["o"]}})
    assert verdict.judged == 1 and gka_golden.name == "gated"
    assert [row["against"] for row in verdict.rows if not row["missing"]] == ["exact"]

@pytest.mark.gka({gated!r}, require="")
def test_alone(gka_golden):
    gka_golden.judge({{"layer.dv": gka_golden.inputs("numpy")["v"]}})

def test_by_option(gka_golden):
    gka_golden.judge({{"x": gka_golden.inputs("numpy")["q"]}})
"""


def plugin_run(pytester, text, *options):
    pytester.makepyfile(text)
    installed = any(one.name == "gka" for one in importlib.metadata.entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "gka.pytest_plugin"]
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *plugin, *options)


def test_the_plugin(pytester, suite):
    gated = str(suite / "gated.safetensors")
    result = plugin_run(pytester, LAYERS.format(here=HERE, suite=str(suite), gated=gated), "-rs", "--gka-goldens", gated)
    result.assert_outcomes(passed=14, failed=4, skipped=1)
    text = result.stdout.str()
    assert "test_right[packed]" not in text  # those that pass have no output
    assert re.search(r"\nx +.* NO\b", text) and "first x[" in text  # the verdict's table
    assert "array(" not in text and "tensor(" not in text
    assert re.search(r"\nRuntimeError: no memory on the device \(.*gated", text) and "no gate" in text
    assert re.search(r"\ngated: not judged: .*\blayer\.dv\b", text)
    assert "gated.safetensors: nothing was judged" in text  # a gradient without the x that it follows from
    assert re.search(r"\n17 goldens: \d+ outputs judged, 3 failed \(1 required and missing\), \d+ not judged\n", text), text


def test_the_plugins_complaints(pytester, suite):
    result = plugin_run(pytester, "import pytest\n@pytest.mark.gka('none')\ndef test_a(gka_golden): pass")
    text = result.stdout.str() + result.stderr.str()
    assert "gka: none: no such folder" in text and "pytest_plugin.py" not in text and result.ret != 0
    result = plugin_run(pytester, f"import pytest\n@pytest.mark.gka({str(suite)!r}, colour=1)\ndef test_a(gka_golden): pass")
    assert "colour" in result.stdout.str() + result.stderr.str() and result.ret != 0


def test_the_readmes_example(pytester, suite):
    pytest.importorskip("torch")
    with open(os.path.join(HERE, "test_kernel.py")) as file:
        example = file.read()
    with open(os.path.join(HERE, "..", "..", "..", "src", "docs", "guides", "judge.md")) as file:
        assert f"```python\n{example}```" in file.read()
    os.symlink(suite, pytester.path / "goldens")
    pytester.syspathinsert(HERE)
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")])
    result = plugin_run(pytester, example, "-k", "gated or packed or fp32")
    result.assert_outcomes(passed=4, deselected=9)
