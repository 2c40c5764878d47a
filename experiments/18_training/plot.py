"""plot.py - gradient errors beside the noise of a minibatch along training; how paired runs end; weights run by another kernel."""
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


gradients()
ends()
serving()
