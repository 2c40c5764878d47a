"""What the tests of the package share: the command of the package, a suite of goldens."""
import json
import os
import subprocess
import sys

import pytest

import gka

pytest_plugins = ["pytester"]
collect_ignore = ["test_kernel.py"]  # the example of src/docs/guides/judge.md, run by test_check.py
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope="session")
def command():
    """Runs the program in the package; stdout, or the parsed JSON of --json=-."""
    program = os.path.join(os.path.dirname(os.path.abspath(gka.__file__)), "bin", "gka")

    def run(*arguments, code=(0,)):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode in code, done.stderr
        return json.loads(done.stdout) if "--json=-" in arguments else done.stdout

    return run


@pytest.fixture(scope="session")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("goldens")
    gka.golden(folder, suite="quick")
    return folder
