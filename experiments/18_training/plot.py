"""plot.py - gradient errors beside the noise of a minibatch along training; how paired runs end; weights run by another kernel;
every kernel beside exact; the tasks of T = 128; a run on a CPU beside the GPU; dg of a head that forgets."""
import csv
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
TASKS = {"recall_a0.02": "recall, a = .02", "recall_a0.005_s8": "recall, a = .005", "regression_a0.02": "regression, a = .02",
         "bytes_a0.02_s8": "bytes, a = .02"}
MARKERS = {"released": "o", "two-term": "s"}
COLOURS = {"released": style.RED, "two-term": style.BLUE, "exact": style.BLACK, "linear": style.GREY}


def gradients():
    rows = style.select(style.table("errors.csv"), group="all")
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), sharex="col", sharey=True)
    for column, (task, title) in enumerate(TASKS.items()):
        for line, own in enumerate(("exact", "released")):
            panel = axes[line][column]
            for judged in ("released", "two-term"):
                chosen = style.select(rows, task=task, kernel=own, judged=judged)
                steps = [r["step"] for r in chosen]
                panel.plot(steps, [r["median"] for r in chosen], color=COLOURS[judged], marker=MARKERS[judged],
                           label=f"error of {judged}")
                panel.fill_between(steps, [r["least"] for r in chosen], [r["largest"] for r in chosen], color=COLOURS[judged], alpha=.15)
            panel.plot(steps, [r["noise"] for r in chosen], label="noise of 32 sequences", **style.THEORY)
            panel.set_yscale("log")
            panel.set_title(f"{title}\non weights trained with {own}", fontsize=9)
            panel.set_xlabel("step" if line else "")
    for panel in axes[:, 0]:
        panel.set_ylabel("over the gradient's norm")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", bbox_to_anchor=(.5, -.06), ncols=3)
    style.save(figure, "gradients.svg")


def ends():
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.6))
    for panel, (task, title) in zip(axes, TASKS.items()):
        with open(os.path.join(DATA, task + ".final.csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = list(dict.fromkeys(r["kernel"] for r in rows))
        for seed in dict.fromkeys(r["seed"] for r in rows):
            of = {r["kernel"]: float(r["loss"]) for r in rows if r["seed"] == seed}
            panel.plot(range(len(names)), [of[n] for n in names], color=style.GREY, linewidth=.7, zorder=1)
            panel.scatter(range(len(names)), [of[n] for n in names], color=[COLOURS[n] for n in names], s=18, zorder=2)
        panel.set_xticks(range(len(names)), names, fontsize=8)
        panel.set_title(title, fontsize=9)
        if task.startswith("recall"):
            panel.set_yscale("log")
    axes[0].set_ylabel("loss on fresh data")
    style.save(figure, "ends.svg")


def serving():
    rows = [r for r in style.select(style.table("serve.csv"), measure="accuracy") if r["second"] != "decode"]
    tasks = [t for t in TASKS if not t.startswith("regression")]
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.3 * len(tasks), 3.6))
    for panel, task in zip(axes, tasks):
        chosen = style.select(rows, task=task)
        for i, r in enumerate(chosen):
            panel.plot([r["least"], r["largest"]], [i, i], color=COLOURS[r["second"]], linewidth=3, alpha=.5)
            panel.plot([r["mean"]], [i], color=COLOURS[r["second"]], marker="o")
        panel.set_yticks(range(len(chosen)), [f"{r['first']} run by {r['second']}" for r in chosen])
        panel.axvline(0, color="black", linewidth=.8)
        panel.locator_params(axis="x", nbins=4)
        panel.set_title(TASKS[task], fontsize=9)
        panel.set_xlabel("change of accuracy")
    figure.tight_layout()
    style.save(figure, "serving.svg")


ORDER = ("released", "autotuned", "two-term", "cuda", "cuda/three-term", "cuda/accurate", "cuda/dg", "cuda/accurate/dg", "cuda/pairs")


def every_kernel():
    """Bytes, eight seeds: loss of what a kernel trained less that of exact; mean, 95 % interval, least and largest."""
    rows = [r for r in style.select(style.table("pairs.csv"), measure="loss", second="exact", seeds=8)
            if r["task"].startswith("bytes")]
    of = {r["first"]: r for r in rows}  # of a kernel in two tables the later one
    names = [n for n in ORDER if n in of]
    figure, axes = plt.subplots(figsize=(8, .45 * len(names) + 1.2))
    for i, name in enumerate(reversed(names)):
        r = of[name]
        axes.plot([r["least"], r["largest"]], [i, i], color=style.GREY, linewidth=1, linestyle=":")
        axes.plot([r["low"], r["high"]], [i, i], color=style.BLACK, linewidth=3)
        axes.plot([r["mean"]], [i], color=style.RED, marker="D", markersize=7, markeredgecolor="white")
    axes.set_yticks(range(len(names)), reversed(names))
    axes.axvline(0, color="black", linewidth=.8)
    axes.set_xlabel("loss less that of exact: mean, 95 % interval (thick), eight seeds (dotted)")
    style.save(figure, "kernels.svg")


def learning():
    tasks = {"recall_a0.02_t128": "recall, 24 pairs, a = .02", "recall_a0.1_t128": "recall, 24 pairs, a = .1",
             "copy_a0.02_t128": "copying 64 tokens", "recall_a0.02_96long": "recall, 96 pairs, T = 256"}
    looks = {"released": (style.RED, "--", "o"), "exact": (style.BLACK, "-", "s")}
    figure, axes = plt.subplots(2, 2, figsize=(8, 6), sharey=True)
    for panel, (task, title) in zip(axes.flat, tasks.items()):
        with open(os.path.join(DATA, task + ".log.csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for kernel, (colour, dash, marker) in looks.items():
            for i, seed in enumerate(dict.fromkeys(r["seed"] for r in rows)):
                chosen = [r for r in rows if r["kernel"] == kernel and r["seed"] == seed]
                panel.plot([int(r["step"]) for r in chosen], [float(r["accuracy"]) for r in chosen], color=colour, linestyle=dash,
                           marker=marker, markersize=4, markevery=(2 * i % 9, 9), linewidth=1,
                           label=f"{kernel}, a line for each of eight seeds" if i == 0 else None)
        panel.set_title(title, fontsize=10)
    for panel in axes[1]:
        panel.set_xlabel("step")
    for panel in axes[:, 0]:
        panel.set_ylabel("accuracy")
    figure.tight_layout()
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", bbox_to_anchor=(.5, -.06), ncols=2)
    style.save(figure, "learning.svg")


def on_a_cpu():
    rows = style.table("cpu.csv")
    figure, axes = plt.subplots(figsize=(8, 3.8))
    for column, label, colour, dash, marker in (
            ("exact_off", "exact, the same GPU", style.BLACK, "--", "s"),
            ("again_off", "released, a second run on a GPU", style.ORANGE, ":", "^"),
            ("emulated_off", "released, emulated on a CPU", style.BLUE, "-", "o")):
        wide = [(rows[i]["step"], [r[column] for r in rows[max(0, i - 5):i + 6]]) for i in range(len(rows))]
        axes.plot([s for s, _ in wide], [sum(v) / len(v) for _, v in wide], color=colour, linestyle=dash, marker=marker, markevery=20,
                  markersize=7, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("off the released run on a GPU,\nrelative (mean of 11 steps)")
    axes.legend()
    style.save(figure, "cpu.svg")


def forgetting():
    rows = style.table("gates.csv")
    figure, axes = plt.subplots(figsize=(8, 3.8))
    for kernel, colour, marker in (("cuda/three-term", style.ORANGE, "v"), ("cuda", style.RED, "o"), ("cuda/accurate", style.BLUE, "D"),
                                   ("h100", style.BLACK, "s")):
        chosen = sorted(style.select(rows, kernel=kernel), key=lambda r: -r["g"])
        axes.plot([-r["g"] for r in chosen], [r["layer_error"] for r in chosen], color=colour, marker=marker, markersize=7,
                  label="released (h100)" if kernel == "h100" else kernel)
    axes.plot([-r["g"] for r in chosen], [max(r["layer"], 1e-8) for r in chosen], label="dg itself (3e-42 at the right)", **style.THEORY)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1e-5, 30)
    axes.set_xlabel("-g, the same at every token: a head that forgets")
    axes.set_ylabel("norm of the error of dg")
    axes.legend(loc="center left", bbox_to_anchor=(1, .5))
    style.save(figure, "forgetting.svg")


gradients()
ends()
serving()
every_kernel()
learning()
on_a_cpu()
forgetting()
