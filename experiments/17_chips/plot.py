"""plot.py - biases of units; errors of the layer by chip, by FP8 operands, by the format of the state."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

OUTPUTS = (("x", style.GREEN, "^"), ("o", style.RED, "o"), ("dk", style.BLUE, "s"))


def units():
    rows = [r for r in style.table("units.csv") if r["K"] == 4096]
    names = [f'{r["device"]} {r["input"]}' + (f', promoted every {r["apart"]:.0f}' if r["apart"] else "") for r in rows]
    figure, panel = plt.subplots(figsize=(6.4, 6))
    panel.barh(range(len(rows)), [max(abs(r["bias"]), 1e-10) for r in rows],
               color=[style.RED if r["bias"] < 0 else style.GREY for r in rows],
               hatch=["///" if r["bias"] < 0 else "" for r in rows], edgecolor="white")
    panel.set_yticks(range(len(rows)), names)
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlabel("|bias| of a sum of 4096 positive products (red, hatched: too small)")
    style.save(figure, "units.svg")


def errors(table, file, label, strip=""):
    rows = style.table(table)
    kernels, kinds = style.distinct(rows, "kernel"), style.distinct(rows, "keys")
    figure, axes = plt.subplots(1, len(kinds), figsize=(10, .32 * len(kernels) + 1.4), sharey=True, sharex=True)
    for panel, kind in zip(axes, kinds):
        for column, colour, marker in OUTPUTS:
            for i, kernel in enumerate(kernels):
                values = [r[column] for r in style.select(rows, keys=kind, kernel=kernel)]
                panel.plot(values, [i] * len(values), linestyle="", marker=marker, color=colour, markersize=4, alpha=.7)
        panel.set_xscale("log")
        panel.set_title(f"keys: {kind}", fontsize=10)
        panel.axvline(.01, **style.THEORY)
    axes[0].set_yticks(range(len(kernels)), [k.replace(strip, "") for k in kernels])
    axes[0].invert_yaxis()
    axes[len(kinds) // 2].set_xlabel(label)
    lines = [plt.Line2D([], [], linestyle="", color=c, marker=m, label=n) for n, c, m in OUTPUTS]
    figure.legend(handles=lines, loc="lower left", ncol=3)
    figure.tight_layout(rect=(0, .06, 1, 1))
    style.save(figure, file)


units()
errors("layer.csv", "layer.svg", "relative error, head by head; dashed: one per cent")
errors("fp8.csv", "fp8.svg", "relative error, head by head; dashed: one per cent")
errors("states.csv", "states.svg", "relative error, head by head; dashed: one per cent", "exact64/states=")
