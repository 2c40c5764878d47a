"""plot.py - recall against age, against load, and against the ridge ratio."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

METHODS = {"linear attention": (style.GREY, "v", "linear attention"), "gated DeltaNet": (style.PINK, "P", "gated DeltaNet"),
           "exact": (style.BLACK, "+", "ridge regression, exact"), "three-term": (style.RED, "o", "three-term, as the H100"),
           "two-term": (style.BLUE, "s", "two-term, as the H100")}
GATES = {1.0: "no gate", .99: "γ = .99", "released": "gates of the\nreleased initialisation"}


def line(axes, method, x, rows, key, column):
    colour, marker, label = METHODS[method]
    _, middle, low, high = style.median_and_spread(rows, key, column)
    big = 9 if method == "exact" else 6 if method == "three-term" else 4
    axes.plot(x, middle, color=colour, marker=marker, label=label, markersize=big, linewidth=1.2, markeredgewidth=1.5 if marker == "+" else 1)
    if method != "two-term":
        axes.fill_between(x, low, high, color=colour, alpha=.15, linewidth=0)


def middle_of(row):
    """Of a range of ages [age, until), in logarithms; the first one starts at 0."""
    return math.sqrt(max(row["age"], 2) * row["until"])


def finish(figure, axes, name, top=.9):
    figure.tight_layout(rect=(0, 0, 1, top))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=3)
    style.save(figure, name)


def age(rows):
    rows = style.select(rows, keys="iid")
    loads = (.5, 4.0)
    figure, all_axes = plt.subplots(2, 3, figsize=(10, 6.4), sharex=True, sharey=True)
    for load, across in zip(loads, all_axes):
        for (gate, title), axes in zip(GATES.items(), across):
            for method in METHODS:
                mine = style.select(rows, method=method, gate=gate, load=load)
                line(axes, method, sorted({middle_of(r) for r in mine}), mine, "age", "error")
            axes.axhline(1, **style.THEORY)
            axes.set_title(f"{title}; {'D/2' if load == .5 else '4 D'} pairs", fontsize=10)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_ylim(.08, 3)
            axes.set_yticks([.1, .3, 1, 3], ["0.1", "0.3", "1", "3"])
            axes.minorticks_off()
    for axes in all_axes[-1]:
        axes.set_xlabel("age of the pair, tokens")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("‖o − v‖ / ‖v‖")
    all_axes[0][0].annotate("nothing remembered", (3.6, 1.1), fontsize=9)
    finish(figure, all_axes[0][0], "age.svg", .91)


def load(rows):
    figure, all_axes = plt.subplots(2, 2, figsize=(8.4, 6.4), sharex=True)
    for j, (keys, title) in enumerate((("iid", "random keys"), ("powerlaw", "power-law keys"))):
        for i, column in enumerate(("error", "hit")):
            axes = all_axes[i][j]
            for method in METHODS:
                mine = style.select(rows, method=method, gate=1.0, keys=keys)
                line(axes, method, sorted({r["load"] for r in mine}), mine, "load", column)
            axes.set_xscale("log", base=2)
            axes.set_xticks([.25, .5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
            if i == 0:
                axes.set_title(title + ", no gate", fontsize=10)
                axes.set_yscale("log")
                axes.set_ylim(.1, 20)
                loads = [.25, 4]
                if keys == "iid":
                    axes.plot(loads, [math.sqrt(x) for x in loads], **style.THEORY)
                    axes.annotate("√(n/D)", (1.3, 1.5), fontsize=9)
            else:
                axes.set_ylim(-.03, 1.05)
                axes.set_xlabel("load n/D, stored pairs per dimension")
    all_axes[0][0].set_ylabel("‖o − v‖ / ‖v‖")
    all_axes[1][0].set_ylabel("share of questions\nwhose answer points to its v")
    finish(figure, all_axes[0][0], "load.svg", .91)


KEYS = {"powerlaw": "power-law keys", "mean": "keys with a common direction", "repeat": "one key repeated"}
FORMS = {"three-term": (style.RED, "o", "three-term, released norm"), "two-term": (style.BLUE, "s", "two-term, released norm"),
         "three-term fp32 norm": (style.ORANGE, "v", "three-term, fp32 norm"), "two-term fp32 norm": (style.SKY, "D", "two-term, fp32 norm")}


def trade(rows):
    """Loss of o against a; a vertical line at a = e, the median over heads, for each norm."""
    keys = [k for k in KEYS if style.select(rows, keys=k)]
    gates = [g for g in (1.0, "released") if style.select(rows, gate=g)]
    figure, all_axes = plt.subplots(len(gates), len(keys), figsize=(3.6 * len(keys) + .6, 3.2 * len(gates) + .7), sharex=True, sharey=True, squeeze=False)
    for i, gate in enumerate(gates):
        for j, kind in enumerate(keys):
            axes = all_axes[i][j]
            for method, (colour, marker, label) in FORMS.items():
                mine = style.select(rows, method=method, keys=kind, gate=gate)
                if not mine:
                    continue
                for r in mine:
                    r["shown"] = min(r["loss"], 1e3) if r["loss"] == r["loss"] else 1e3
                xs, middle, low, high = style.median_and_spread(mine, "a", "shown")
                axes.plot(xs, middle, color=colour, marker=marker, label=label, linewidth=1.2, markersize=5)
                axes.fill_between(xs, low, high, color=colour, alpha=.12, linewidth=0)
                if method.startswith("two-term"):
                    edges = sorted(r["e"] for r in mine)
                    axes.axvline(max(edges[len(edges) // 2], 1e-4), color=colour, linestyle="--", linewidth=1)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(1e-3, 1.5e3)
            axes.set_title(f"{KEYS[kind]}, {'no gate' if gate == 1.0 else 'released gates'}", fontsize=10)
    for axes in all_axes[-1]:
        axes.set_xlabel("ridge ratio a")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("‖o − o exact‖ / ‖v‖")
    finish(figure, all_axes[0][0], "trade.svg", .88)


RECALL = style.table("recall.csv")
age(RECALL)
load(RECALL)
trade(style.table("trade.csv"))
