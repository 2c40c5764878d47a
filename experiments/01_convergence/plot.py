"""plot.py - the residual of every iteration: the paper's picture at two lambdas, four formats, and the floors."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

def curves(axes, rows, solvers, ridge, form):
    for number, name in enumerate(solvers):
        chosen = style.select(rows, solver=name, format=form, **{"lambda": ridge})
        axes.plot([r["iteration"] for r in chosen], [r["worst"] for r in chosen], markevery=(number, 6), **style.solver(name))


def theory(axes, ridge, solvers):
    rows = style.table("theory.csv")
    for number, name in enumerate(solvers):
        chosen = style.select(rows, solver=name, **{"lambda": ridge})
        axes.plot([r["iteration"] for r in chosen], [r["bound"] for r in chosen], label=None if number else "theory",
                  zorder=3, **style.THEORY)


def picture():
    """fp32, all solvers, the lambda of the released layer and the one where the paper's picture holds."""
    rows = style.table("residuals.csv")
    figure, all_axes = plt.subplots(1, 2, figsize=(9.6, 4.4), sharey=True)
    for axes, ridge in zip(all_axes, (.02, .1)):
        curves(axes, rows, ("gradient", "nesterov", "cg", "cg-guarded", "chebyshev"), ridge, "fp32")
        theory(axes, ridge, ("gradient", "nesterov", "chebyshev"))
        axes.axvline(10, color="black", linewidth=.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_ylim(5e-8, 8)
        axes.set_xlabel("iteration (products with H)")
        axes.set_title(f"fp32, λ = {ridge:g}", fontsize=11)
    all_axes[0].set_ylabel("largest residual ‖(H + λI)x − q‖ / ‖q‖\nover tokens and sequences")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="lower center", ncol=3, bbox_to_anchor=(.5, -.12))
    figure.tight_layout()
    style.save(figure, "picture.svg")


def formats():
    rows = style.table("residuals.csv")
    titles = {"fp32": "fp32", "fp16": "everything in fp16", "bf16": "everything in bf16", "bf16-mixed": "bf16 operands, rest fp32"}
    figure, all_axes = plt.subplots(2, 2, figsize=(9.6, 7.4), sharex=True, sharey=True)
    for axes, (form, title) in zip(all_axes.flat, titles.items()):
        curves(axes, rows, ("cg", "cg-guarded", "chebyshev", "chebyshev2"), .02, form)
        theory(axes, .02, ("chebyshev",))
        axes.set_yscale("log")
        axes.set_ylim(5e-7, 30)
        axes.set_title(f"{title}, λ = 0.02", fontsize=11)
    for axes in all_axes[1]:
        axes.set_xlabel("iteration (products with H)")
    for axes in all_axes[:, 0]:
        axes.set_ylabel("largest relative residual")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="lower center", ncol=3, bbox_to_anchor=(.5, -.06))
    figure.tight_layout()
    style.save(figure, "formats.svg")


def floors():
    rows = style.table("floors.csv")
    shown = ("fp64", "fp32", "tf32", "fp16", "bf16", "bf16-mixed")
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for number, name in enumerate(("cg", "cg-guarded", "chebyshev", "chebyshev2")):
        look = style.solver(name, linestyle="", markersize=6)
        for i, form in enumerate(shown):
            chosen = style.select(rows, solver=name, format=form, **{"lambda": .02})[0]
            at, top = i + .16 * (number - 1.5), min(chosen["worst"], 1e3)
            axes.plot([at] * 2, [chosen["least"], top], color=look["color"], linewidth=1)
            axes.plot([at], [top], **look | {"label": look["label"] if i == 0 else None})
            if chosen["worst"] > top:
                axes.annotate("diverges", (at, top), xytext=(6, 0), textcoords="offset points", fontsize=9, va="center")
    axes.axhline(1, **style.THEORY)
    axes.annotate("as bad as x = 0", (-.4, 1.6), fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(1e-16, 3e4)
    axes.set_xticks(range(len(shown)), [s.replace("-mixed", " operands\nrest fp32") for s in shown])
    axes.set_ylabel("residual after 60 iterations\n(worst and best sequence, λ = 0.02)")
    axes.legend(loc="lower right", ncol=2)
    axes.grid(axis="x", visible=False)
    style.save(figure, "floors.svg")


picture()
formats()
floors()
