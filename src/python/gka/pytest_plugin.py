"""The pytest plugin: a test that takes `gka_golden` runs once for each golden of a suite.

    @pytest.mark.gka("goldens", require="x,o")       a golden, or a folder made by gka golden --suite
    def test_layer(gka_golden):
        gka_golden.check(my_layer)

The marker's keywords: require (outputs that must be there and be judged; by default x and o, with autograd every gradient),
reference ("exact" for a solver that converges), gradients ("through", "auto"), autograd (take gradients by PyTorch's), outputs
(names of a tuple's tensors), device, kind ("torch", "numpy", "jax"), names, layout. Without a marker, or without its argument,
the folder is --gka-goldens, or "goldens". check(layer) skips what the layer does not take, fails with the verdict's table and no
dump of tensors, and with the traceback of what the layer raises (--pdb stops there), for this golden alone. judge(out) is for
tensors that a test has made itself. At the end of the run stands how many outputs were judged, and which were not.
"""
from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ._api import Verdict

_JUDGING = ("require", "reference", "gradients", "names", "layout")
_CALLING = ("autograd", "outputs", "device", "kind")


class GoldenCase:
    """A golden in a test; `golden` is the gka.check.Golden."""

    def __init__(self, path: str, how: dict[str, Any], properties: list[tuple[str, Any]], pdb: bool = False) -> None:
        from .check import Golden
        self.golden = Golden(path)
        self.path, self.name = self.golden.path, self.golden.name
        self._how, self._properties, self._pdb = how, properties, pdb

    def __repr__(self) -> str:
        return repr(self.golden)

    def inputs(self, kind: str = "torch", device: str = "cpu", cotangents: bool = False) -> dict[str, Any]:
        """As gka.check.Golden.inputs."""
        return self.golden.inputs(kind, device, cotangents)

    def check(self, layer: Any) -> None:
        """Runs the layer and judges it: the test is skipped where the layer does not take the golden, and fails where a tensor
        fails."""
        __tracebackhide__ = True
        from .check import Skip
        try:
            out = self.golden.call(layer, **{key: self._how[key] for key in _CALLING if key in self._how})
        except Skip as why:
            pytest.skip(str(why))
        except Exception as why:  # pytest's own traceback would print the arguments, which are tensors
            if self._pdb:
                raise
            pytest.fail(f"{type(why).__name__}: {why} ({self.path})\n\n{traceback.format_exc()}", pytrace=False)
        self.judge(out)

    def judge(self, out: dict[str, Any]) -> Verdict:
        """Judges tensors by name; fails the test where one of them fails, or nothing can be judged."""
        __tracebackhide__ = True
        verdict = self.golden.judge(out, differentiable=bool(self._how.get("autograd")),
                                    **{key: self._how[key] for key in _JUDGING if key in self._how})
        unjudged = [row["name"] for row in verdict.rows if row["ok"] is None]
        missing = sum(1 for row in verdict.rows if row["missing"] and row["required"])
        self._properties.append(("gka", [self.name, verdict.judged, verdict.failed, missing, unjudged]))
        if verdict.ok is None:
            pytest.fail(f"{self.path}: nothing was judged: a tensor with a tolerance, and those that it follows from, were expected", pytrace=False)
        if not verdict.ok:
            pytest.fail(f"{self.path}\n\n{verdict.text}", pytrace=False)
        return verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("gka").addoption("--gka-goldens", metavar="FOLDER", default="goldens",
                                     help="goldens of tests that take gka_golden and name none (goldens)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gka(folder, require=, reference=, gradients=, autograd=, ...): the goldens of gka_golden")


def _marked(node: Any, config: pytest.Config) -> tuple[str, dict[str, Any]]:
    mark = node.get_closest_marker("gka")
    folder = str(config.getoption("--gka-goldens"))
    if mark is None:
        return folder, {}
    unknown = set(mark.kwargs) - set(_JUDGING) - set(_CALLING)
    if unknown or len(mark.args) > 1:
        raise pytest.Collector.CollectError(f"gka: {', '.join(sorted(unknown)) or 'two folders'}; one folder and any of "
                                            f"{' '.join(_JUDGING + _CALLING)} were expected")
    return (str(mark.args[0]) if mark.args else folder), dict(mark.kwargs)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "gka_golden" not in metafunc.fixturenames:
        return
    from . import Error, goldens
    folder, _ = _marked(metafunc.definition, metafunc.config)
    if not os.path.exists(folder):
        raise pytest.Collector.CollectError(f"gka: {folder}: no such folder and no such golden (gka golden --suite quick -o {folder})")
    try:
        paths = goldens(folder)
    except Error as error:
        raise pytest.Collector.CollectError(f"gka: {error}") from None
    metafunc.parametrize("gka_golden", paths, indirect=True,
                         ids=[path.replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors") for path in paths])


@pytest.fixture
def gka_golden(request: pytest.FixtureRequest) -> GoldenCase:
    """One golden of the suite that the marker gka names."""
    _, how = _marked(request.node, request.config)
    return GoldenCase(request.param, how, request.node.user_properties, bool(request.config.getoption("usepdb")))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    said = [value for reports in terminalreporter.stats.values() for report in reports
            if getattr(report, "when", None) == "call" for key, value in report.user_properties if key == "gka"]
    if not said:
        return
    unjudged = sum(len(names) for *_, names in said)
    terminalreporter.section("gka")
    for name, *_, names in said:
        if names:
            terminalreporter.line(f"{name}: not judged: {' '.join(names)}")
    judged, failed, missing = (sum(one[i] for one in said) for i in (1, 2, 3))
    required = f" ({missing} required and missing)" if missing else ""
    terminalreporter.line(f"{len(said)} goldens: {judged} outputs judged, {failed} failed{required}, {unjudged} not judged")
