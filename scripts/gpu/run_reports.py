"""run_reports.py - runs the blocks of experiments/REPORTS.md, one after another, and prints what each prints.

    python3 run_reports.py SOURCES [--cpu] [REPORTS.md]

SOURCES is the folder that capture_kernels.py describes. --cpu: only what needs neither a GPU nor the kernels (SOURCES is not
read); the exit status is 1 where a block raises.
"""
import contextlib
import io
import os
import re
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def blocks(text):
    """(heading, code) of each block that is indented by four and has Python in it."""
    for heading, body in re.findall(r"^#+ (.*)\n((?:(?!^#).*\n)*)", text, re.M):
        for block in re.findall(r"(?:^    .*\n)+", body, re.M):
            yield heading, re.sub("^    ", "", block, flags=re.M)


def main(sources="", *rest):
    cpu, names = "--cpu" in (sources, *rest), [name for name in rest if name != "--cpu"]
    values, bad = {}, 0
    if not cpu:
        import capture_kernels
        sys.modules["solver"], sys.modules["server"] = capture_kernels.load(sources)
        values["SOURCES"] = sources
        capture_kernels.load = lambda _: (sys.modules["solver"], sys.modules["server"])
        capture_kernels.pin({})
    with open(names[0] if names else os.path.join(HERE, "..", "..", "experiments", "REPORTS.md")) as file:
        text = file.read()
    for heading, code in blocks(text):
        if cpu and re.search("cuda|solver|server|prefill|decode|capture_kernels|S\\.apply", code):
            code = "import torch\nunit = torch.nn.functional.normalize" if "def inputs" in code else ""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(code, values)
        except Exception:
            said.write(traceback.format_exc(limit=1))
            bad += 1
        if code:
            print(f"{heading}\n" + re.sub("^", "    ", said.getvalue().rstrip(), flags=re.M))
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
