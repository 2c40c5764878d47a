"""check_torch.py - runs a kernel of yours on a golden's inputs, or on a whole suite, and judges what it gives.

    python3 check_torch.py MODULE:FUNCTION GOLDEN [-o CANDIDATE] [--device cuda] [--autograd] [--outputs o,h_final]
        [--reference exact]

GOLDEN is a file made by `gka golden`, or a folder made by `gka golden --suite`; then CANDIDATE is a folder too. FUNCTION is
called with keyword arguments:

    q k [v alpha g h0 u0 cu_seqlens]               torch tensors on the device, in the golden's types and layouts
                                                   (gka/problem.h); those that the golden has, no others
    ridge_ratio num_iter chunk_size scale          numbers
    given                                          of a golden of one stage only: a dictionary, any of x fro h_chunk solve.p
                                                   layer.p (gka golden --stage)

It returns a dictionary with any of the golden's outputs by name (x fro o h_chunk h_final u_final, gradients solve.* layer.*), or
a tuple, or one tensor, whose names --outputs says in order. A function that takes `cotangents` is also given those, a
dictionary with any of do dx dh_final du_final: so one that computes its own gradients does. With --autograd the gradients come
from PyTorch instead: of <o, do> (+ the final states' cotangents) as layer.*, of <x, dx> (+ that of h_final) as solve.*. (A dh0 that
is symmetric, as that of a function which takes (h0 + h0^T)/2, is judged by the golden's symmetric part.)

Exit code: 0 nothing fails, 1 a tensor fails or FUNCTION raises, 2 bad input, nothing could be run or what a case gave cannot
be judged (the other cases are, all the same). A case that FUNCTION refuses by
NotImplementedError, or whose arguments are not those it takes, is said to be skipped. --reference exact is for a solver that
converges and so does not compute what num_iter Chebyshev steps do (gka_check.py), --gradients through for autograd through the
steps, where a golden's implicit gradients are others. The candidate files can be judged again
elsewhere: gka verify CANDIDATE --against GOLDEN.
"""
import argparse
import importlib
import inspect
import os
import sys
import traceback

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gka_check  # noqa: E402

LEAVES = {"q": "dq", "k": "dk", "v": "dv", "alpha": "dalpha", "g": "dg", "h0": "dh0"}
SOLVE = ["dq", "dk", "dg", "dh0"]  # solve.* has these, layer.* all but dh0


def find(name):
    """MODULE:FUNCTION; the current folder counts, too."""
    module, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise gka_check.Bad(f"{name}: {error}; MODULE:FUNCTION was expected") from None


def named(result, outputs):
    if isinstance(result, dict):
        return {name: t for name, t in result.items() if t is not None}
    result = result if isinstance(result, (tuple, list)) else (result,)
    if len(result) != len(outputs):
        raise gka_check.Bad(f"{len(result)} tensors returned, {len(outputs)} names in --outputs")
    return {name: t for name, t in zip(outputs, result) if t is not None and name}


def gradients(out, leaves, part, pairs):
    """part: solve or layer; pairs: (output, its cotangent) where both are there."""
    pairs = [(o, c) for o, c in pairs if o is not None and c is not None and o.requires_grad]
    if not pairs:
        return {}
    names = [name for name in leaves if (name != "h0" if part == "layer" else LEAVES[name] in SOLVE)]
    grads = torch.autograd.grad([o for o, _ in pairs], [leaves[n] for n in names], [c.to(o.dtype) for o, c in pairs],
                                retain_graph=True, allow_unused=True)
    return {f"{part}.{LEAVES[n]}": grad for n, grad in zip(names, grads) if grad is not None}


def run(function, golden, device="cpu", autograd=False, outputs=("o",)):
    """{name: tensor}: what the function gives for the golden's inputs."""
    given = gka_check.inputs(golden, device, cotangents=True)
    cotangents = {name: given.pop(name) for name in ("do", "dx", "dh_final", "du_final") if name in given}
    parameters = inspect.signature(function).parameters
    if "cotangents" in parameters:
        given["cotangents"] = cotangents
    gka_check.suits(function, given)
    leaves = {name: given[name].requires_grad_() for name in LEAVES if name in given} if autograd else {}
    out = named(function(**given), outputs)
    if autograd:
        dh = (out.get("h_final"), cotangents.get("dh_final"))
        out.update(gradients(out, leaves, "solve", [(out.get("x"), cotangents.get("dx")), dh]))
        out.update(gradients(out, leaves, "layer", [(out.get("o"), cotangents.get("do")), dh,
                                                    (out.get("u_final"), cotangents.get("du_final"))]))
    return {name: t.detach() for name, t in out.items()}


def judge(function, golden, options):
    """The rows of one golden; its tensors are kept where -o says so."""
    out = run(function, golden, options.device, options.autograd, options.outputs.split(","))
    if options.output:
        folder = os.path.isdir(options.golden)
        gka_check.save(os.path.join(options.output, os.path.basename(golden)) if folder else options.output, out)
    require = options.require or gka_check.expected_of(out, golden, options.autograd)
    return gka_check.check(out, golden, reference=options.reference, gradients=options.gradients, require=require)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", metavar="MODULE:FUNCTION")
    parser.add_argument("golden")
    parser.add_argument("-o", "--output", metavar="CANDIDATE", help="keep the tensors: a file, or a folder for a suite")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--autograd", action="store_true")
    parser.add_argument("--outputs", default="o", help="names of a tuple's tensors, in order (o); an empty name: not judged")
    parser.add_argument("--reference", choices=["steps", "exact"], default="steps")
    parser.add_argument("--gradients", choices=["implicit", "through", "auto"], default="implicit",
                        help="through: of the num_iter steps themselves, as autograd gives them")
    parser.add_argument("--require", metavar="NAME,..|all",
                        help="outputs that fail where they are missing (x and o; with --autograd every gradient of the golden)")
    options = parser.parse_args(arguments)
    try:
        function = find(options.function)
        goldens = gka_check.goldens(options.golden)
        if options.output and os.path.isdir(options.golden):
            os.makedirs(options.output, exist_ok=True)
        ran = failed = bad = 0
        for golden in goldens:
            print(golden, flush=True)  # first of all: a kernel may take the process with it
            try:
                rows = judge(function, golden, options)
            except NotImplementedError as why:
                print(f"  skipped: {why}")
                continue
            except gka_check.Bad as why:  # what it gave cannot be judged
                print(f"  NO: {gka_check.plain_text(str(why))}")
                bad += 1
                continue
            except Exception as why:  # whatever a kernel may raise: the others are judged all the same
                traceback.print_exc()
                print(f"  NO: {type(why).__name__}: {why}")
                ran, failed = ran + 1, failed + 1
                continue
            gka_check.show(rows)
            gka_check.count_unjudged(rows, golden)
            ran, failed = ran + 1, failed + any(row.ok is False for row in rows)
        print(f"{ran + bad} of {len(goldens)} goldens run, {failed} fail, {bad} cannot be judged")
    except gka_check.Bad as error:
        print(f"check_torch: {error}", file=sys.stderr)
        return 2
    return 2 if ran == 0 or bad else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
