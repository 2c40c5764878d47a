"""plot.py - recall, in-context regression, repeated and overwritten keys, and what bf16 takes of each layer."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

LAYERS = style.lines({"linear": (style.GREY, "v", "linear attention"), "mamba2": (style.SKY, "<", "linear attention, gated"),
          "gdn": (style.PINK, "P", "delta rule, gated"), "mesa": (style.ORANGE, "D", "MesaNet, ridge 1"),
          "mesa/ridge=.25": (style.GREEN, "^", "MesaNet, ridge 1/4"), "softmax/sharpness=16": (style.BLACK, "+", "softmax attention"),
          "gka": (style.RED, "o", "Gated KalmaNet")})
LOADS = ([.25, .5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
EXAMPLES = ([.5, 1, 2, 4, 8], ["1/2", "1", "2", "4", "8"])
TIMES = ([1, 2, 4, 8], ["1", "2", "4", "8"])


def lines(axes, rows, column, ticks, skip=()):
    for layer, look in LAYERS.items():
        mine = style.select(rows, layer=layer)
        if not mine or layer in skip:
            continue
        x, middle, low, high = style.median_and_spread(mine, "x", column)
        axes.plot(x, middle, **look, linewidth=1.2, markersize=8 if look["marker"] == "+" else 5)
        axes.fill_between(x, low, high, color=look["color"], alpha=.12, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(*ticks)
    axes.minorticks_off()


def finish(figure, axes, name, top):
    figure.tight_layout(rect=(0, 0, 1, top))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=4, handlelength=4)
    style.save(figure, name)


def recall(rows):
    rows = style.select(rows, task="recall", arith="exact")
    figure, all_axes = plt.subplots(2, 2, figsize=(8.8, 6.4), sharex=True, sharey=True)
    for across, (gate, title) in zip(all_axes, ((1.0, "no gate"), (.99, "γ = .99"))):
        for axes, group in zip(across, ("old", "young")):
            lines(axes, style.select(rows, gate=gate, group=group), "error", LOADS)
            axes.set_title(f"the {'oldest' if group == 'old' else 'youngest'} pairs, {title}", fontsize=10)
            axes.set_ylim(-.03, 1.05)
    for axes in all_axes[-1]:
        axes.set_xlabel("load n/D, stored pairs per dimension")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("error, up to a scale")
    finish(figure, all_axes[0][0], "recall.svg", .9)


def regression(rows):
    rows = style.select(rows, task="regression", arith="exact")
    figure, all_axes = plt.subplots(2, 2, figsize=(8.8, 6.4), sharex=True, sharey=True)
    for across, (noise, title) in zip(all_axes, ((0.0, "no noise"), (.5, "noise σ = 1/2"))):
        for axes, (keys, name) in zip(across, (("iid", "independent inputs"), ("powerlaw", "correlated inputs"))):
            lines(axes, style.select(rows, noise=noise, keys=keys), "error", EXAMPLES)
            axes.set_title(f"{name}, {title}", fontsize=10)
            axes.set_yscale("log")
            axes.set_ylim(.008, 1.2)
    for axes in all_axes[-1]:
        axes.set_xlabel("examples seen per dimension")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("error at new inputs")
    finish(figure, all_axes[0][0], "regression.svg", .9)


def keys(rows):
    titles = {"repeat": ("error", "same value again"), "overwrite": ("hit", "a new value each time"), "tracking": ("hit", "segments, gate e⁻⁸ before each")}
    figure, all_axes = plt.subplots(1, 3, figsize=(10.4, 3.9), sharex=True)
    for axes, (task, (column, title)) in zip(all_axes, titles.items()):
        lines(axes, style.select(rows, task=task, arith="exact"), column, TIMES)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(-.03, 1.05)
        axes.set_ylabel("error, up to a scale" if column == "error" else "share that finds the last value")
        axes.set_xlabel("times a key was stored" if task != "tracking" else "segments")
    finish(figure, all_axes[0], "keys.svg", .84)


def loss(rows):
    cases = (("recall, γ = .99, old", LOADS, dict(task="recall", gate=.99, group="old")),
             ("regression, correlated, σ = 1/2", EXAMPLES, dict(task="regression", keys="powerlaw", noise=.5)))
    figure, all_axes = plt.subplots(2, 2, figsize=(8.8, 6.4), sharey=True)
    for across, (arith, name) in zip(all_axes, (("bf16-acc32", "recurrence in bf16"), ("h100", "chunk form, H100"))):
        for axes, (title, ticks, wanted) in zip(across, cases):
            lines(axes, style.select(rows, arith=arith, **wanted), "loss", ticks)
            axes.set_yscale("log")
            axes.set_ylim(5e-5, 2)
            axes.set_title(f"{title}: {name}", fontsize=9)
            axes.set_xlabel("n/D")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("‖o − o exact‖ / ‖o exact‖")
    finish(figure, all_axes[0][0], "loss.svg", .9)


def points(rows):
    kinds = (("iid", "o", style.BLUE, "independent keys"), ("mean", "s", style.RED, "keys with a common direction"))
    names = ["mamba2", "gdn", "mesa", "gka"]
    figure, all_axes = plt.subplots(2, 2, figsize=(8.8, 6.4), sharex=True)
    for axes, layer in zip(all_axes.flat, names):
        mine = [r for r in style.select(rows, layer=layer) if r["loss"] > 1e-6 or r["loss"] != r["loss"]]
        order = sorted(set(r["point"] for r in mine), key=lambda p: max(r["loss"] for r in mine if r["point"] == p))
        for kind, marker, colour, label in kinds:
            here = style.select(mine, keys=kind)
            xs = [sorted(r["loss"] for r in here if r["point"] == p) for p in order]
            axes.plot([x[len(x) // 2] if x else None for x in xs], range(len(order)), marker=marker, color=colour, linestyle="", label=label)
        axes.set_yticks(range(len(order)), order, fontsize=9)
        axes.set_xscale("log")
        axes.set_title(LAYERS[layer]["label"], fontsize=10)
    for axes in all_axes[-1]:
        axes.set_xlabel("loss of o, alone")
    figure.tight_layout(rect=(0, 0, 1, .9))
    handles, labels = all_axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=2)
    style.save(figure, "points.svg")


TABLE = style.table("tasks.csv")
recall(TABLE)
regression(TABLE)
keys(TABLE)
loss(TABLE)
points(style.table("points.csv"))
