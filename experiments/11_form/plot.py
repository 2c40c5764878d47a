"""plot.py - error of dk of both forms, case by case, measured and predicted; and why: the gain of residual errors."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

LABELS = {"iid_gated": "random keys", "iid_ungated": "random keys, no gate", "slow": "random keys, slow gates",
          "strong": "random keys, strong gates", "powerlaw": "power-law keys", "lowrank": "keys of rank 8 + noise", "repeat": "one key repeated",
          "recall": "stored pairs recalled, slow gates", "slow_a005": "slow gates, a = .005", "repeat_ungated_a005": "one key, no gate, a = .005"}
# source, kernel, solver, where in the row of a case: an H100's filled, the CPU's predictions open
KERNELS = [("measured", "released", "chebyshev", .27), ("predicted", "three-term", "chebyshev", .1),
           ("predicted", "two-term", "chebyshev2", -.1), ("measured", "ours two-term", "chebyshev2", -.27)]


def middle(values):
    values, half = sorted(values), len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def dk():
    rows = style.table("errors.csv")

    def of(case, source, kernel):
        return [r["dk"] for r in style.select(rows, case=case, source=source, kernel=kernel)]

    cases = sorted((c for c in LABELS if of(c, "predicted", "three-term")), key=lambda c: middle(of(c, "predicted", "three-term")))
    figure, axes = plt.subplots(figsize=(9, 6.6))
    axes.axvspan(1, 100, color="#eeeeee", linewidth=0)
    for i, case in enumerate(cases):
        for source, kernel, solver, shift in KERNELS:
            values = of(case, source, kernel)
            if not values:
                continue
            look = style.solver(solver, linestyle="", label=None, markersize=8 if source == "measured" else 6)
            if source == "predicted":
                look |= {"markerfacecolor": "white", "markeredgewidth": 1.6}
            at = i + shift
            axes.plot([min(values), max(values)], [at] * 2, color=look["color"], linewidth=1.1)
            axes.plot([middle(values)], [at], **look)
        floor = middle(of(case, "exact", "stored in bf16"))
        axes.plot([floor] * 2, [i - .4, i + .04], **style.THEORY | {"linewidth": 1.4})
        measured, ours = of(case, "measured", "released"), of(case, "measured", "ours two-term")
        factor = middle(measured or of(case, "predicted", "three-term")) / middle(ours or of(case, "predicted", "two-term"))
        axes.annotate(f"÷ {factor:.1f}" + ("" if measured else ", CPU"), (1.015, i), xycoords=("axes fraction", "data"), va="center", fontsize=10)
    axes.annotate("released\n÷ two-term", (1.015, len(cases) - .45), xycoords=("axes fraction", "data"), fontsize=9)
    for solver, filled, label in (("chebyshev", True, "released kernels (three-term), on an H100"),
                                  ("chebyshev", False, "the same, predicted on the CPU"),
                                  ("chebyshev2", False, "the same in two terms, predicted on the CPU"),
                                  ("chebyshev2", True, "our two-term kernels, on an H100")):
        look = style.solver(solver, linestyle="-", linewidth=1.1, label=label, markersize=8 if filled else 6)
        axes.plot([], [], **look if filled else look | {"markerfacecolor": "white", "markeredgewidth": 1.6})
    axes.plot([], [], label="exact x and p, stored in bf16", **style.THEORY | {"linewidth": 1.4})
    axes.annotate("worse than dk = 0", (1.15, -.35), fontsize=10, va="center")
    axes.set_xscale("log")
    axes.set_xlim(2e-3, 40)
    axes.set_ylim(-.6, len(cases) - .5)
    axes.set_yticks(range(len(cases)), [LABELS[c] for c in cases])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xticks([.01, .1, 1, 10], ["1 %", "10 %", "100 %", "1000 %"])
    axes.set_xlabel("relative error of the key gradient dk (median and range over heads)")
    axes.legend(loc="lower center", bbox_to_anchor=(.34, 1), ncol=2, columnspacing=1.2)
    style.save(figure, "dk.svg")


def gain():
    """What an error of the residual leaves in x: three laws of the three-term form, and both forms measured."""
    rows = sorted(style.select(style.table("gain.csv"), a=.02, r=30.0), key=lambda r: r["h"])
    h = [r["h"] for r in rows]
    figure, axes = plt.subplots(figsize=(8, 4.6))
    for column, text in (("worst", "errors at their worst,\nΣ |g$_j$|: 1/λ = 50/f"), ("independent", "independent errors,\n(Σ g$_j^2$)$^{1/2}$"),
                         ("stable", "a stable solver,\n1/(h + a)")):
        axes.plot(h, [r[column] for r in rows], **style.THEORY)
        axes.annotate(text, (1.03, rows[-1][column] * (1.5 if column == "worst" else 1)), xycoords=("axes fraction", "data"), fontsize=10, va="center")
    points = style.table("amplified.csv")
    for form, solver in (("three-term", "chebyshev"), ("two-term", "chebyshev2")):
        chosen = style.select(points, form=form)
        axes.plot([r["h"] for r in chosen], [r["gain"] for r in chosen],
                  **style.solver(solver, linestyle="", markersize=5, markerfacecolor="none", label=form + ", measured with bf16 operands"))
    axes.set_yscale("log")
    axes.set_xlim(-.02, 1.03)
    axes.set_xlabel("eigenvalue h of H, / f")
    axes.set_ylabel("gain of errors of the residual, × 1/f\n(a = 0.02, r = 30)")
    axes.legend(loc="lower center", bbox_to_anchor=(.6, 1), ncol=2)
    style.save(figure, "gain.svg")


dk()
gain()
