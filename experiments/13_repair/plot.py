"""plot.py - what each repair brings, and error against price over form x iterations x operand x ridge."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

FORMS = {"three-term": "chebyshev", "two-term": "chebyshev2", "cg-consistent": "cg-consistent"}
WAYS = {"bf16": ("-", "bf16, one part"), "bf16 and two parts": ("--", "bf16, x p q' dx in two parts"),
        "tf32 and two parts": (":", "tf32, two parts"), "split and two parts": ("-.", "two bf16 parts, two parts")}
ERRORS = {"dk": "relative error of dk", "x": "relative error of x", "o": "relative error of o"}


def median(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def pareto():
    rows = style.table("pareto.csv")
    ratios = sorted(style.distinct(rows, "a"))
    figure, axes = plt.subplots(len(ERRORS), len(ratios), figsize=(3.6 * len(ratios), 8.6), sharex=True, sharey="row", squeeze=False)
    for i, column in enumerate(ERRORS):
        for j, a in enumerate(ratios):
            panel = axes[i][j]
            for form, solver in FORMS.items():
                colour, marker, _ = style.SOLVERS[solver]
                for way, (dash, _) in WAYS.items():
                    chosen = style.select(rows, a=a, form=form, way=way)
                    points = sorted((p, median([r[column] for r in chosen if r["products"] == p]))
                                    for p in {r["products"] for r in chosen})
                    if points:
                        panel.plot(*zip(*points), color=colour, marker=marker, linestyle=dash, markersize=4.5, linewidth=1.3,
                                   markerfacecolor=colour if way == "bf16" else "white")
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xticks([5, 10, 20, 30, 60], ["5", "10", "20", "30", "60"])
            panel.minorticks_off()
            if i == 0:
                panel.set_title(f"a = {a:g}", fontsize=11)
            if j == 0:
                panel.set_ylabel(ERRORS[column] + " (median)")
            if i == len(ERRORS) - 1:
                panel.set_xlabel("time of a solve, in products\nwith bf16 operands")
    lines = [plt.Line2D([], [], color=style.SOLVERS[s][0], marker=style.SOLVERS[s][1], label=style.SOLVERS[s][2]) for s in FORMS.values()]
    lines += [plt.Line2D([], [], color=style.GREY, linestyle=dash, marker="o", markersize=4.5, markerfacecolor=style.GREY if way == "bf16" else "white",
                         label=label) for way, (dash, label) in WAYS.items() if style.select(rows, way=way)]
    figure.legend(handles=lines, loc="upper center", ncol=2, bbox_to_anchor=(.5, 1.0), fontsize=10)
    figure.tight_layout(rect=(0, 0, 1, .90))
    style.save(figure, "pareto.svg")


def repairs():
    rows = style.table("errors.csv")
    prices = {r["repair"]: r for r in style.table("prices.csv")}
    names = style.distinct(rows, "repair")
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 6.4), sharey=True)
    for panel, column in zip(axes, ("dk", "o", "dalpha")):
        for i, name in enumerate(names):
            values = [r[column] for r in style.select(rows, repair=name)]
            colour, marker, _ = style.SOLVERS["chebyshev2" if name.startswith("two-term") else "cg-consistent" if name.startswith("consistent")
                                              else "cg" if name == "CG" else "chebyshev"]
            panel.plot([min(values), max(values)], [-i, -i], color=colour, linewidth=1.2)
            panel.plot([median(values)], [-i], marker=marker, color=colour, linestyle="")
        panel.axvline(median([r[column] for r in style.select(rows, repair="released")]), **style.THEORY)
        panel.set_xscale("log")
        panel.set_xlabel(f"relative error of {column}\n(median and range, all heads)")
    axes[0].set_yticks([-i for i in range(len(names))], names, fontsize=9)
    axes[2].set_title("products", fontsize=9, loc="right", x=1.13)
    for i, name in enumerate(names):
        axes[2].annotate(f"{prices[name]['products']:g}", (1.08, -i), xycoords=("axes fraction", "data"), va="center", ha="center", fontsize=9)
    style.save(figure, "repairs.svg")


pareto()
repairs()
