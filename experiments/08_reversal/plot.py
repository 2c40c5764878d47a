"""plot.py - the divisors of a reversed iteration, what becomes of its iterates, and of the gradient."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

RIDGES = ((.01, style.SKY, "o"), (.02, style.RED, "s"), (.05, style.GREEN, "^"), (.1, style.ORANGE, "D"))


def divisors():
    rows = style.table("divisors.csv")
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2))
    for ridge, colour, marker in RIDGES:
        chosen = style.select(rows, format="fp32", solver="chebyshev", **{"lambda": ridge})
        axes[0].plot([r["iteration"] for r in chosen], [r["largest"] for r in chosen], color=colour, marker=marker, markevery=5,
                     label=f"λ = {ridge:g}")
        root = math.sqrt(1 - 1 / (1 + 2 * ridge) ** 2)
        axes[0].plot([1, 30], [(1 - root) / (1 + root)] * 2, label="limit" if ridge == .1 else None, **style.THEORY)
    axes[0].set_ylim(0, 1)
    axes[0].set_ylabel("divisor ω$_i$ − 1")
    axes[0].set_title("Chebyshev, both forms", fontsize=11)
    axes[0].legend(ncol=2)
    for name, form, dash in (("cg", "fp64", "-"), ("cg", "fp32", "--"), ("cg-guarded", "fp32", "-")):
        chosen = style.select(rows, format=form, solver=name, quantity="divisor", **{"lambda": .02})
        look = style.solver(name, linestyle=dash, markevery=4)
        look["label"] += f", {form}"
        xs = [r["iteration"] for r in chosen]
        axes[1].plot(xs, [r["least"] for r in chosen], **look)
        axes[1].plot(xs, [r["largest"] for r in chosen], **look | {"label": None})
    axes[1].set_yscale("log")
    axes[1].set_ylabel("divisor β$_i$, least and largest")
    axes[1].set_title("CG, λ = 0.02", fontsize=11)
    axes[1].legend()
    for axis in axes:
        axis.set_xlabel("iteration i")
    figure.tight_layout()
    style.save(figure, "divisors.svg")


def back():
    rows = style.table("back.csv")
    figure, all_axes = plt.subplots(1, 3, figsize=(10, 4.4), sharey=True)
    for axes, (form, ridge) in zip(all_axes, (("fp32", .02), ("fp32", .1), ("bf16", .02))):
        for number, name in enumerate(("cg-guarded", "cg", "chebyshev", "chebyshev2")):
            chosen = style.select(rows, format=form, solver=name, **{"lambda": ridge})
            xs = [r["back"] for r in chosen]
            clip = [[min(max(r[c], 1e-9), 1e12) for r in chosen] for c in ("least", "median", "largest")]
            look = style.solver(name, markevery=(number, 5))
            axes.fill_between(xs, clip[0], clip[2], color=look["color"], alpha=.15, linewidth=0)
            axes.plot(xs, clip[1], **look)
            if name.startswith("chebyshev"):
                axes.plot(xs, [r["law"] for r in chosen], label="law" if name == "chebyshev" else None, **style.THEORY)
        axes.axhline(1, color="black", linewidth=.8)
        axes.set_yscale("log")
        axes.set_ylim(1e-9, 1e9)
        axes.set_xlabel("steps back k")
        axes.set_title(f"everything in {form}, λ = {ridge:g}", fontsize=11)
    all_axes[0].set_ylabel("error of the iterate met again,\nrelative to the last x (median, range)")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="lower center", ncol=5, bbox_to_anchor=(.5, -.06))
    figure.tight_layout()
    style.save(figure, "back.svg")


def gradient():
    rows = style.table("gradient.csv")
    shown = ("fp64", "fp32", "tf32", "bf16", "bf16-mixed")
    bits = {"fp64": (53, 53), "fp32": (24, 24), "tf32": (11, 11), "bf16": (8, 8), "bf16-mixed": (24, 8)}
    figure, axes = plt.subplots(figsize=(8, 4.4))
    for form, name in enumerate(("chebyshev", "chebyshev2")):
        for i, arithmetic in enumerate(shown):
            chosen = style.select(rows, solver=name, format=arithmetic, **{"lambda": .02})
            for column, fill, shift in (("stored_dH", None, -.09), ("reversed_dH", "white", .09)):
                values = sorted(max(r[column], 1e-17) for r in chosen)
                look = style.solver(name, linestyle="", markersize=7)
                look |= {"markerfacecolor": fill or look["color"], "label": look["label"] if i == 1 and not fill else None}
                at = i + .4 * (form - .5) + shift
                if values[-1] > 1e-17:
                    axes.plot([at, at], [values[0], values[-1]], color=look["color"], linewidth=1)
                    axes.plot([at], [values[len(values) // 2]], **look)
            law = 30 ** (2 - form) * 2.0 ** -bits[arithmetic][form]
            at = i + .4 * (form - .5) + .09
            axes.plot([at - .1, at + .1], [law, law], label="law r² u, r u" if form == 0 and i == 0 else None, **style.THEORY)
    for label, fill in (("iterates stored", "gray"), ("iterates recomputed backwards", "white")):
        axes.plot([], [], linestyle="", marker="o", color="gray", markerfacecolor=fill, markersize=7, label=label)
    axes.axhline(1, color="black", linewidth=.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(shown)), [s.replace("-mixed", " operands\nrest fp32") for s in shown])
    axes.set_ylabel("error of dH against the exact\nderivative of 30 iterations, λ = 0.02")
    axes.legend(loc="lower right")
    axes.grid(axis="x", visible=False)
    style.save(figure, "gradient.svg")


divisors()
back()
gradient()
