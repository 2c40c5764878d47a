"""plot.py - error floors over unit roundoff, predicted and measured; rounding modes; accumulators; the price in steps."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

PLACES = {"operands": "operands of products alone", "memory": "all vectors, sums in fp32", "everywhere": "everything"}
MODES = ["nearest", "stochastic", "odd", "zero", "down", "up"]
PREDICTED = [s for s in style.SOLVERS if s in ("chebyshev", "chebyshev2", "cg", "cg-consistent", "gradient", "nesterov")]
TOP = 30


def finite(rows, column):
    """Rows with a number; what is larger than TOP is drawn at TOP."""
    return [r | {column: min(r[column], TOP)} for r in rows if not math.isnan(r[column])]


def legend_above(figure, all_axes, ncol, extra=()):
    found = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    figure.legend(list(found.values()) + [h for h, _ in extra], list(found) + [t for _, t in extra], loc="upper center", ncol=ncol)


def theory_handle(text):
    return plt.Line2D([], [], color="gray", linestyle="--", linewidth=1), text


def floors(rows):
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 4.8), sharey=True)
    wide = style.select(rows, format="-")
    for axes, (where, title) in zip(all_axes, PLACES.items()):
        for name in PREDICTED:
            mine = style.select(wide, where=where, solver=name)
            if where != "operands" and name == "cg-consistent":
                continue  # with short vectors in memory it is plain CG
            p, middle, low, high = style.median_and_spread(finite(mine, "floor"), "p", "floor")
            look = style.solver(name)
            axes.plot([2.0 ** -i for i in p], middle, **look)
            axes.fill_between([2.0 ** -i for i in p], low, high, color=look["color"], alpha=.15, linewidth=0)
            p, middle, _, _ = style.median_and_spread(finite(mine, "predicted"), "p", "predicted")
            axes.plot([2.0 ** -i for i in p], middle, color=look["color"], linestyle="--", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_ylim(1e-7, 2 * TOP)
        axes.set_title(f"short: {title}", fontsize=10)
        axes.set_xlabel("unit roundoff u of the short format")
    all_axes[0].set_ylabel("residual where it no longer falls, / ‖q‖")
    for u, text in ((2.0 ** -4, "E4M3"), (2.0 ** -8, "bf16"), (2.0 ** -11, "fp16"), (2.0 ** -24, "fp32")):
        all_axes[0].annotate(text, (u, 35), fontsize=8, ha="center", va="top")
    figure.tight_layout(rect=(0, 0, 1, .89))
    legend_above(figure, all_axes, 4, [theory_handle("predicted")])
    style.save(figure, "floors.svg")


def modes(rows):
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 4.6), sharey=True)
    for axes, (where, title) in zip(all_axes, PLACES.items()):
        for i, name in enumerate(PREDICTED):
            look = style.solver(name, linestyle="")
            for j, mode in enumerate(MODES):
                mine = finite(style.select(rows, where=where, solver=name, mode=mode), "floor")
                if not mine:
                    continue
                at, values = j + .12 * (i - 2.5), sorted(r["floor"] for r in mine)
                axes.plot([at] * 2, [values[0], values[-1]], color=look["color"], linewidth=1)
                axes.plot([at], [values[len(values) // 2]], **(look | {"label": look["label"] if j == 0 else None}))
                predicted = sorted(r["predicted"] for r in mine if not math.isnan(r["predicted"]))
                if predicted:
                    axes.plot([at - .06, at + .06], [predicted[len(predicted) // 2]] * 2, **(style.THEORY | dict(linewidth=1.6, linestyle=(0, (1.6, .8)))))
        axes.set_yscale("log")
        axes.set_ylim(1e-7, 2 * TOP)
        axes.set_xticks(range(len(MODES)), MODES, fontsize=9, rotation=30, ha="right")
        axes.grid(axis="x", visible=False)
        axes.set_title(f"bf16: {title}", fontsize=10)
    all_axes[0].set_ylabel("residual where it no longer falls, / ‖q‖")
    figure.tight_layout(rect=(0, 0, 1, .89))
    legend_above(figure, all_axes, 4, [(plt.Line2D([], [], color="black", linewidth=1.6, linestyle=(0, (1.6, .8))), "predicted")])
    style.save(figure, "modes.svg")


def accumulators(rows):
    figure, axes = plt.subplots(figsize=(6.4, 4.6))
    for name in ("chebyshev", "chebyshev2", "cg", "gradient", "cholesky"):
        for order in style.distinct(rows, "order"):
            mine = finite(style.select(rows, solver=name, order=order), "floor")
            bits, middle, low, high = style.median_and_spread(mine, "acc", "floor")
            look = style.solver(name, markersize=5)
            if order == "pairwise":
                look |= {"label": None, "linestyle": ":", "markerfacecolor": "none"}
            axes.plot(bits, middle, **look)
            predicted = finite(mine, "predicted")
            if predicted and order == "sequential":
                bits, middle, _, _ = style.median_and_spread(predicted, "acc", "predicted")
                axes.plot(bits, middle, color=look["color"], linestyle="--", linewidth=1)
    axes.plot([], [], color="gray", linestyle=":", marker="o", markerfacecolor="none", label="sums pairwise")
    axes.plot([], [], color="gray", linestyle="--", linewidth=1, label="predicted, sequential")
    axes.set_yscale("log")
    axes.set_xlabel("bits of the accumulator (vectors: bf16, 8 bits)")
    axes.set_ylabel("residual where it no longer falls, / ‖q‖")
    axes.set_ylim(5e-3, .1)
    axes.legend(loc="lower center", bbox_to_anchor=(.5, 1.0), ncol=3)
    style.save(figure, "accumulators.svg")


def delay(rows):
    figure, all_axes = plt.subplots(1, 2, figsize=(9, 4.4), sharey=True)
    for axes, where in zip(all_axes, ("operands", "everywhere")):
        for name in PREDICTED:
            mine = [r for r in style.select(rows, format="-", where=where, solver=name) if not math.isnan(r["delay"]) and r["floor"] < TOP]
            if where != "operands" and name == "cg-consistent":
                continue
            _, reached, _, _ = style.median_and_spread(mine, "p", "floor")
            p, steps, low, high = style.median_and_spread(mine, "p", "delay")
            look = style.solver(name, linewidth=.8, markersize=6)
            axes.plot(reached, [s + .5 for s in steps], **look)
            for x, bottom, top in zip(reached, low, high):
                axes.plot([x, x], [bottom + .5, top + .5], color=look["color"], linewidth=.6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(.3, 200)
        axes.set_yticks([.5, 1.5, 10.5, 100.5], ["0", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_xlabel("residual where it no longer falls, / ‖q‖")
        axes.set_title(f"short: {PLACES[where]}", fontsize=10)
    all_axes[0].set_ylabel("steps more than binary64\nto come within 3 of it")
    figure.tight_layout(rect=(0, 0, 1, .89))
    legend_above(figure, all_axes, 3)
    style.save(figure, "delay.svg")


FLOORS = style.table("floors.csv")
floors(FLOORS)
modes(style.table("modes.csv"))
accumulators(style.table("accumulators.csv"))
delay(FLOORS)
