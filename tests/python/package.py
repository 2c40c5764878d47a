"""The Python package: `pip install` of the repository into a venv of its own, pytest of tests/python/package, mypy.

usage: package.py GKA [source]    GKA: the program; the extension is linked with the library of its build folder. With `source`
everything is built, as `pip install .` does it. Exit status 77: PyPI cannot be reached, or this Python has no venv. PyTorch is
used where this Python has it (it is too large to be fetched for a test).
"""
import importlib.util
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
TOOLS = ["scikit-build-core>=0.10", "nanobind>=2.4", "ninja", "numpy", "pytest", "ml_dtypes", "safetensors", "mypy"]


def say(*words):
    print("package:", *words, flush=True)


def main(built, folder):
    """built: the build folder whose library is taken; None: it is built here."""
    os.makedirs(folder, exist_ok=True)
    venv, build = os.path.join(folder, "venv"), os.path.join(folder, "build")
    python = os.path.join(venv, "bin", "python")
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "2"}
    run = lambda *command, **more: subprocess.run(command, env=environment, **more).returncode
    has_torch = importlib.util.find_spec("torch") is not None
    if run(python, "-c", "", stderr=subprocess.DEVNULL) if os.path.exists(python) else True:
        if run(sys.executable, "-m", "venv", *(["--system-site-packages"] if has_torch else []), venv):
            say("skipped: this Python has no venv (Debian: python3-venv)")
            return 77
    if run(python, "-m", "pip", "install", "-q", *TOOLS):
        say("skipped: PyPI cannot be reached, or lacks one of", *TOOLS)
        return 77
    say("building")
    settings = [f"build-dir={build}"]
    if built is not None:
        settings.append(f"cmake.define.GKA_BUILT={built}")
    if run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--force-reinstall",
           *("--config-settings=" + setting for setting in settings), SOURCE):
        return 1
    tests = os.path.join(HERE, "package")
    failed = run(python, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", tests, cwd=folder)
    say("pytest:", "failed" if failed else "passed")
    if not has_torch:
        say("skipped: what needs PyTorch, which this Python lacks")
    typed = run(python, "-m", "mypy", "--config-file", os.path.join(SOURCE, "pyproject.toml"), "--cache-dir",
                os.path.join(folder, "mypy"), "-p", "gka", cwd=folder)
    say("mypy:", "failed" if typed else "passed")
    return 1 if failed or typed else 0


if __name__ == "__main__":
    whole = sys.argv[2:] == ["source"]
    sys.exit(main(None if whole else os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[1]))),
                  os.path.join(os.getcwd(), "source.folder" if whole else "package.folder")))
