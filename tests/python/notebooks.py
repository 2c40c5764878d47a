"""The notebooks of experiments/notebooks: the cells of each .py that has a number run, and the .ipynb beside it has the same cells
with what they print.

usage: notebooks.py GKA            the test (GKA is not used), in the venv that package.py has made. Exit status 77: there is none,
                                   or PyPI cannot be reached for matplotlib
       notebooks.py --write PY     runs PY's cells with this Python, and writes its .ipynb: texts, and figures as small PNGs

Numbers in a text may differ by a hundredth, or by 1e-9: a residual in binary64 has other last digits with another BLAS. Figures
are not compared: every matplotlib draws its own; there must be as many.
"""
import ast
import base64
import contextlib
import glob
import io
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "..", "experiments", "notebooks")
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[-+]\d+)?")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def cells(path):
    """(kind, text) of each cell of a percent script."""
    with open(path) as file:
        parts = file.read().split("\n# %%")[1:]
    for part in parts:
        head, _, text = part.partition("\n")
        markdown = "[markdown]" in head
        lines = [line[2:] if line.startswith("# ") else line.lstrip("#") for line in text.split("\n")] if markdown else \
            text.split("\n")
        yield "markdown" if markdown else "code", "\n".join(lines).strip()


def outputs_of(text, names):
    """What a cell shows: its prints, the value of an expression at its end, its figures."""
    import matplotlib.pyplot as plt
    tree, printed, value = ast.parse(text), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    if printed.getvalue():
        yield {"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(True)}
    if value is not None:
        yield {"data": {"text/plain": repr(value).splitlines(True)}, "execution_count": None, "metadata": {},
               "output_type": "execute_result"}
    for number in plt.get_fignums():
        png = io.BytesIO()
        plt.figure(number).savefig(png, dpi=60, bbox_inches="tight", metadata={"Software": None})
        yield {"data": {"image/png": base64.b64encode(png.getvalue()).decode()}, "metadata": {}, "output_type": "display_data"}
    plt.close("all")


def notebook_of(path):
    """The notebook of a percent script, executed."""
    import matplotlib
    matplotlib.use("Agg")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    names, made = {"__name__": "__main__"}, []
    for i, (kind, text) in enumerate(cells(path)):
        cell = {"cell_type": kind, "id": f"cell-{i + 1}", "metadata": {}, "source": text.splitlines(True)}
        if kind == "code":
            cell.update(execution_count=None, outputs=list(outputs_of(text, names)))
        made.append(cell)
    return {"cells": made, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}


def shown(cell):
    """(text, figures) of a cell's outputs."""
    outputs = cell.get("outputs", [])
    texts = [one.get("text") or one.get("data", {}).get("text/plain", []) for one in outputs]
    return "".join(line for text in texts for line in text), sum("image/png" in one.get("data", {}) for one in outputs)


def alike(a, b):
    """Texts that say the same, numbers by the rule above."""
    if NUMBER.sub("#", a).split() != NUMBER.sub("#", b).split():
        return False
    pairs = [(float(x), float(y)) for x, y in zip(NUMBER.findall(a), NUMBER.findall(b))]
    return all(abs(x - y) <= max(1e-9, .01 * abs(y)) for x, y in pairs)


def differences(now, stored):
    """Where a notebook that has just run is not the stored one."""
    if [(c["cell_type"], c["source"]) for c in now["cells"]] != [(c["cell_type"], c["source"]) for c in stored["cells"]]:
        return ["its .ipynb has other cells"]
    both = [(i, shown(a), shown(b)) for i, (a, b) in enumerate(zip(now["cells"], stored["cells"]), 1)]
    return [f"cell {i} now gives {a[1]} figures and\n{a[0]}" for i, a, b in both if not alike(a[0], b[0]) or a[1] != b[1]]


def write(path):
    with open(path[:-3] + ".ipynb", "w") as file:
        json.dump(notebook_of(path), file, indent=1, ensure_ascii=False)
        file.write("\n")


def main():
    python = os.path.join(os.getcwd(), "package.folder", "venv", "bin", "python")
    if subprocess.run([python, "-c", "import gka"], stderr=subprocess.DEVNULL).returncode if os.path.exists(python) else True:
        print("skipped: python/package has not installed the package")
        return 77
    if subprocess.run([python, "-m", "pip", "install", "-q", "matplotlib"]).returncode:
        print("skipped: PyPI cannot be reached for matplotlib")
        return 77
    bad = 0
    for path in sorted(glob.glob(os.path.join(FOLDER, "[0-9]*.py"))):
        name = os.path.basename(path)
        run = subprocess.run([python, "-B", __file__, "--run", path], capture_output=True, text=True)
        with open(path[:-3] + ".ipynb") as file:
            stored = json.load(file)
        wrong = ["it FAILED\n" + run.stderr[-2000:]] if run.returncode else differences(json.loads(run.stdout), stored)
        print(f"{name}: {len(stored['cells'])} cells", *wrong, sep="; ")
        if wrong:
            print(f"{name}: where the change is meant: tests/python/notebooks.py --write experiments/notebooks/{name}")
        bad += bool(wrong) or len(stored["cells"]) < 10
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        sys.exit(write(sys.argv[2]))
    if sys.argv[1:2] == ["--run"]:
        sys.exit(print(json.dumps(notebook_of(sys.argv[2]))))
    sys.exit(main())
