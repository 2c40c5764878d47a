"""plot.py - error of the gradient against the incoming gradient's size; one layer to five; through against implicit."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402


def spread(axes, xs, rows_of, column, look):
    """Median with the range over rows, point by point."""
    points = []
    for x in xs:
        values = sorted(r[column] for r in rows_of(x))
        points.append((x, values[len(values) // 2], values[0], values[-1]))
    for x, _, low, high in points:
        axes.plot([x, x], [low, high], color=look["color"], linewidth=1)
    axes.plot(xs, [p[1] for p in points], **look)


def size():
    rows = style.table("solve.csv")
    figure, all_axes = plt.subplots(1, 2, figsize=(9.6, 4.2), sharey=True)
    for axes, ridge in zip(all_axes, (.02, .1)):
        for name in ("cg-guarded", "cg", "chebyshev"):
            chosen = style.select(rows, format="fp32", solver=name, mode="implicit", **{"lambda": ridge})
            xs = style.distinct(chosen, "size")
            spread(axes, xs, lambda x: style.select(chosen, size=x), "dq", style.solver(name))
        chosen = style.select(rows, format="fp64", solver="cg-guarded", mode="implicit", **{"lambda": ridge})
        xs = style.distinct(chosen, "size")
        axes.plot(xs, [sorted(r["dq"] for r in style.select(chosen, size=x))[len(style.select(chosen, size=x)) // 2] for x in xs],
                  linestyle="", marker="o", markersize=11, markerfacecolor="none", color=style.BLACK, label="CG, guarded, in fp64")
        axes.axhline(1, label="as wrong as no gradient", **style.THEORY)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.invert_xaxis()
        axes.set_ylim(5e-8, 5)
        axes.set_xlabel("size of the incoming gradient ‖dx‖")
        axes.set_title(f"fp32, implicit, 30 iterations, λ = {ridge:g}", fontsize=11)
    all_axes[0].set_ylabel("relative error of dq\n(median and range over systems)")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="lower center", ncol=3, bbox_to_anchor=(.5, -.12))
    figure.tight_layout()
    style.save(figure, "size.svg")


def stack():
    rows = style.table("stack.csv")
    figure, all_axes = plt.subplots(1, 2, figsize=(9.6, 4.6), sharey=True)
    lines = [("cg-guarded", 1.0, "-"), ("cg-guarded", .01, "--"), ("cg-guarded", 1e-4, ":"), ("cg", 1.0, "-"), ("chebyshev", 1.0, "-")]
    for axes, net in zip(all_axes, ("chain", "residual")):
        for name, cotangent, dash in lines:
            chosen = style.select(rows, net=net, a=.1, format="fp32", solver=name, mode="implicit", size=cotangent)
            look = style.solver(name, linestyle=dash)
            look["label"] += f", cotangent {cotangent:g}" if name == "cg-guarded" else ""
            spread(axes, [1, 3, 5], lambda x: style.select(chosen, layers=float(x)), "gradient", look)
        axes.axhline(1, color="black", linewidth=.8)
        axes.set_yscale("log")
        axes.set_ylim(1e-7, 100)
        axes.set_xticks([1, 3, 5])
        axes.set_xlabel("layers")
        axes.set_title({"chain": "h ← W o", "residual": "h ← h + W o"}[net] + ", fp32, a = 0.1", fontsize=11)
    all_axes[0].set_ylabel("relative error of the first gradient\n(median and range over seeds)")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="lower center", ncol=3, bbox_to_anchor=(.5, -.11))
    figure.tight_layout()
    style.save(figure, "stack.svg")


def through():
    rows = style.table("solve.csv")
    figure, all_axes = plt.subplots(1, 2, figsize=(9.6, 3.9), sharey=True)
    names = ("cg", "cg-guarded", "chebyshev")
    for axes, column, title in zip(all_axes, ("dq", "dH"), ("dq", "dH (symmetric part)")):
        for i, name in enumerate(names):
            for mode, fill, shift in (("implicit", None, -.3), ("through", "white", .12)):
                for j, ridge in enumerate((.02, .05, .1)):
                    values = sorted(r[column] for r in style.select(rows, format="fp64", solver=name, mode=mode, size=1.0, **{"lambda": ridge}))
                    look = style.solver(name, linestyle="", markersize=7)
                    look |= {"markerfacecolor": fill or look["color"], "label": None}
                    at = i + shift + .09 * j
                    axes.plot([at, at], [values[0], values[-1]], color=look["color"], linewidth=1)
                    axes.plot([at], [values[len(values) // 2]], **look)
        for mode, shift in (("implicit", -.3), ("through", .12)):
            for j, ridge in enumerate((.02, .05, .1)):
                b = 1 / math.cosh(31 * math.acosh(1 + 2 * ridge))
                law = b if column == "dq" else 2 * b if mode == "implicit" else (1 + 2 * ridge * 31 ** 2) * b
                at = 2 + shift + .09 * j
                axes.plot([at - .06, at + .06], [law, law], label="law of Chebyshev's worst" if j == 0 and mode == "implicit" else None, **style.THEORY)
        axes.set_yscale("log")
        axes.set_xticks(range(len(names)), [style.solver(n)["label"].replace(", three-term", "") for n in names])
        axes.set_title(f"error of {title}, fp64, 30 iterations", fontsize=11)
        axes.grid(axis="x", visible=False)
    for mode, fill in (("implicit", "gray"), ("through the iterations", "white")):
        all_axes[1].plot([], [], linestyle="", marker="o", color="gray", markerfacecolor=fill, markersize=7, label=mode)
    all_axes[0].set_ylabel("relative error; each from left\nto right λ = 0.02, 0.05, 0.1")
    all_axes[1].legend(loc="lower right")
    figure.tight_layout()
    style.save(figure, "through.svg")


size()
stack()
through()
