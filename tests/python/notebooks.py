"""The notebooks of experiments/notebooks: each .py that has a number runs as a program, and the .ipynb beside it has the same
cells.

usage: notebooks.py GKA    (GKA is not used). Runs in the venv that package.py has made. Exit status 77: there is none, or PyPI
cannot be reached for matplotlib.
"""
import glob
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "..", "experiments", "notebooks")


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
        run = subprocess.run([python, "-B", path], env={**os.environ, "MPLBACKEND": "Agg"}, capture_output=True, text=True)
        with open(path[:-3] + ".ipynb") as file:
            notebook = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in json.load(file)["cells"]]
        same, count = notebook == list(cells(path)), len(notebook)
        print(f"{name}: {count} cells, {'ran' if run.returncode == 0 else 'FAILED'}"
              f"{'' if same else '; its .ipynb has other cells: jupytext --to ipynb ' + name}")
        print(run.stderr[-2000:] if run.returncode else "", end="")
        bad += run.returncode != 0 or not same or not 10 <= count
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
