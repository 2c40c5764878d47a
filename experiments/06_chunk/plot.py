"""plot.py - errors against the chunk size; with one rounding left out; each rounding alone, on files of an H100."""
import math
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

FORM = {"three-term": "chebyshev", "two-term": "chebyshev2"}
NAMES = {"slow": "iid, slow gates", "powerlaw": "power law", "repeat": "one key", "slow_a005": "slow gates, a = .005",
         "repeat_ungated_a005": "one key, no gate,\na = .005"}


def size():
    rows = style.table("size.csv")
    figure, all_axes = plt.subplots(1, 3, figsize=(9.6, 3.6))
    for axes, column in zip(all_axes, ("f", "x", "dk")):
        for form, solver in FORM.items():
            if column == "f" and form == "two-term":
                continue  # f does not depend on the iteration
            for case, dash in (("slow", "-"), ("powerlaw", ":")):
                chosen = style.select(rows, case=case, kernel=form)
                if not chosen:
                    continue
                xs, middle, low, high = style.median_and_spread(chosen, "C", column)
                look = style.solver(solver, label=f"{form}, {NAMES[case]}")
                look |= dict(color=style.BLACK, markeredgecolor=style.BLACK) if column == "f" else {}
                axes.plot(xs, middle, linestyle=dash, **look)
                axes.fill_between(xs, low, high, color=look["color"], alpha=.12, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks([16, 32, 64, 128, 256], ["16", "32", "64", "128", "256"])
        axes.set_xlabel("chunk size C, tokens")
        axes.set_ylabel(f"relative error of {column}" + (" (both forms: black)" if column == "f" else ""))
        low, high = axes.get_ylim()
        ticks = [m * 10.0 ** e for e in range(-5, 2) for m in ((1, 2, 3, 4, 5) if high / low < 12 else (1, 2, 5) if high / low < 100 else (1,))]
        axes.set_yticks([t for t in ticks if low <= t <= high], [f"{t:g}" for t in ticks if low <= t <= high])
        axes.minorticks_off()
    figure.legend(*all_axes[2].get_legend_handles_labels(), loc="upper center", ncol=2)
    figure.tight_layout(rect=(0, 0, 1, .86))
    style.save(figure, "size.svg")


def without():
    rows = style.table("without.csv")
    cases = style.distinct(rows, "case")
    shown = {"released": "all as\nreleased", "norm": "norm", "snapshot": "state\nsnapshot", "storing x": "storing x", "operand": "operand x",
             "all but storing x": "all but\nstoring x"}
    figure, all_axes = plt.subplots(1, len(cases), figsize=(3.4 * len(cases), 4), sharey=True, squeeze=False)
    for axes, case in zip(all_axes[0], cases):
        for form, solver in FORM.items():
            shift = -.14 if form == "three-term" else .14
            for i, variant in enumerate(shown):
                values = sorted(r["dk"] for r in rows if (r["case"], r["form"], r["without"]) == (case, form, variant))
                if not values:
                    continue
                look = style.solver(solver, label=form if i == 0 else None)
                axes.plot([i + shift] * 2, [values[0], values[-1]], color=look["color"], linewidth=1)
                axes.plot([i + shift], [statistics.median(values)], linestyle="", **look)
        axes.set_yscale("log")
        axes.set_xticks(range(len(shown)), shown.values(), rotation=60, ha="right", fontsize=9)
        axes.set_title(NAMES[case], fontsize=10)
        axes.grid(axis="x", visible=False)
    all_axes[0][0].set_ylabel("relative error of dk\n(median and range over heads)")
    figure.legend(*all_axes[0][0].get_legend_handles_labels(), loc="upper right", ncol=2)
    figure.supxlabel("rounding left out", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, .94))
    style.save(figure, "without.svg")


def attribution():
    rows = style.table("attribution.csv")
    file = "slow" if any(r["file"] == "slow" for r in rows) else rows[0]["file"]
    forms = [f for f in FORM if style.select(rows, file=file, form=f)]
    tensors = [t for t in style.distinct(rows, "tensor")]
    points = [p for p in style.distinct(rows, "point")
              if any(r["only"] > 1e-5 for r in style.select(rows, file=file, point=p))]
    figure, all_axes = plt.subplots(1, len(forms), figsize=(4.9 * len(forms), 6), sharey=True, squeeze=False)
    for axes, form in zip(all_axes[0], forms):
        for i, point in enumerate(points + ["all as released"]):
            for j, tensor in enumerate(tensors):
                chosen = style.select(rows, file=file, form=form, tensor=tensor, point=point if i < len(points) else points[0])
                if not chosen:
                    continue
                value = chosen[0]["only" if i < len(points) else "released"]
                if not value > 1e-5:
                    continue
                shade = min(max((math.log10(value) + 5) / 5, 0), 1)
                axes.add_patch(plt.Rectangle((j - .5, i - .5), 1, 1, color=plt.cm.Blues(.85 * shade)))
                axes.text(j, i, f"{value:.0e}".replace("e-0", "e-"), ha="center", va="center", fontsize=8.5,
                          color="white" if shade > .75 else "black")
        axes.axhline(len(points) - .5, color="black", linewidth=1)
        axes.set_xlim(-.5, len(tensors) - .5)
        axes.set_ylim(len(points) + .5, -.5)
        axes.set_xticks(range(len(tensors)), tensors, rotation=45, ha="right", fontsize=10)
        axes.set_yticks(range(len(points) + 1), points + ["all as released"], fontsize=10)
        axes.grid(visible=False)
        axes.set_title(f"{form} form, file {file}", fontsize=11)
    figure.supxlabel("relative error of a tensor with this rounding alone (blank: below 1e-5)", fontsize=11)
    figure.tight_layout()
    style.save(figure, "attribution.svg")


size()
without()
attribution()
