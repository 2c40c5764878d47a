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
    """A panel for each solver: sums in sequence and pairwise, and what is predicted of the first."""
    names = ("chebyshev", "chebyshev2", "cg", "gradient", "cholesky")
    figure, all_axes = plt.subplots(2, 3, figsize=(8.6, 5.6), sharex=True, sharey=True)
    for axes, name in zip(all_axes.flat, names):
        look = style.solver(name, markersize=6)
        for order, shape in (("sequential", {}), ("pairwise", dict(linestyle=":", markerfacecolor="none"))):
            bits, middle, _, _ = style.median_and_spread(finite(style.select(rows, solver=name, order=order), "floor"), "acc", "floor")
            axes.plot(bits, middle, **(look | shape | {"label": None}))
        predicted = finite(style.select(rows, solver=name, order="sequential"), "predicted")
        if predicted:
            bits, middle, _, _ = style.median_and_spread(predicted, "acc", "predicted")
            axes.plot(bits, middle, **style.THEORY)
        axes.set_title(look["label"], fontsize=11)
        axes.set_yscale("log")
        axes.set_ylim(5e-3, .1)
    for axes in all_axes[1]:
        axes.set_xlabel("bits of the accumulator")
    for line in all_axes:
        line[0].set_ylabel("final residual / ‖q‖")
    for kind in (dict(color="black", marker="o", label="sums in sequence"),
                 dict(color="black", marker="o", linestyle=":", markerfacecolor="none", label="sums pairwise"),
                 dict(label="predicted, in sequence") | style.THEORY):
        all_axes[1][2].plot([], [], **kind)
    all_axes[1][2].legend(loc="center", fontsize=11)
    all_axes[1][2].grid(False)
    figure.tight_layout()
    style.save(figure, "accumulators.svg")


def delay(rows):
    """A row for each place that is short, a panel for each solver. Bars are the range over the seeds."""
    places = ("operands", "everywhere")
    figure, all_axes = plt.subplots(2, len(PREDICTED), figsize=(9.6, 5.4), sharex=True, sharey=True)
    for line, where in zip(all_axes, places):
        for axes, name in zip(line, PREDICTED):
            mine = [r for r in style.select(rows, format="-", where=where, solver=name) if not math.isnan(r["delay"]) and r["floor"] < TOP]
            look = style.solver(name, linewidth=1.2, markersize=6)
            if mine and not (name == "cg-consistent" and where != "operands"):  # there it is plain CG
                _, reached, _, _ = style.median_and_spread(mine, "p", "floor")
                _, steps, low, high = style.median_and_spread(mine, "p", "delay")
                axes.plot(reached, [s + .5 for s in steps], **(look | {"label": None}))
                axes.vlines(reached, [s + .5 for s in low], [s + .5 for s in high], color=look["color"], linewidth=1)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(.3, 200)
            axes.set_yticks([.5, 1.5, 10.5, 100.5], ["0", "1", "10", "100"])
            axes.set_xticks([1e-6, 1e-3, 1])
            axes.minorticks_off()
            if where == places[0]:
                axes.set_title(look["label"].replace(", ", ",\n"), fontsize=10)
        line[0].set_ylabel(f"short: {'operands' if where == 'operands' else 'everything'}\nextra steps", fontsize=10)
    figure.supxlabel("residual where it no longer falls, / ‖q‖", fontsize=11)
    figure.tight_layout()
    style.save(figure, "delay.svg")


FLOORS = style.table("floors.csv")
floors(FLOORS)
modes(style.table("modes.csv"))
accumulators(style.table("accumulators.csv"))
delay(FLOORS)
