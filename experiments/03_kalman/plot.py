"""plot.py - the antisymmetric part grows as gamma^-t; when the covariance form fails; what the other forms keep."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

PRECISION = {"bf16": 8, "fp16": 11, "fp32": 24, "fp64": 53}
MARKER = {"bf16": "o", "fp16": "^", "fp32": "s", "fp64": "D"}
GATE = {"1": 1.0, "255/256": 255 / 256, "251/256": 251 / 256, "115/128": 115 / 128, "1/2": .5}
FORMS = {"kalman": "covariance\nΦ −= g uᵀ", "kalman-outer": "Φ −= w wᵀ", "kalman-symmetrised": "symmetrised", "kalman-joseph": "Joseph", "kalman-potter": "Potter",
         "kalman-ud": "UD", "kalman-information": "information", "chebyshev": "Chebyshev,\nridge a f"}


def text(rows):
    """Columns that name a case stay texts: gamma "1" is no number here."""
    for r in rows:
        r["gamma"] = "1" if r["gamma"] == 1.0 else r["gamma"]
    return rows


def growth():
    rows = text(style.table("trace.csv"))
    seed = rows[0]["seed"]
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.0), sharex=True)
    for name, p in PRECISION.items():
        chosen = style.select(rows, form="kalman", format=name, gamma="251/256", seed=seed)
        for axis, column in zip(axes, ("symmetry", "error")):
            seen = [r for r in chosen if 0 < r[column] < 1e6]
            axis.plot([r["t"] for r in seen], [r[column] for r in seen], color=style.FORMATS[name], marker=MARKER[name],
                      markevery=.08, label=name)
        end = p * math.log(2) / -math.log(GATE["251/256"])
        axes[0].plot([0, end], [2.0 ** -p, 1], label="u γ$^{-t}$" if name == "fp64" else None, **style.THEORY)
    axes[1].axhline(1, **style.THEORY)
    for axis, label in zip(axes, ("symmetry defect ‖Φ − Φᵀ‖ / ‖Φ‖", "relative error of x = Φ q")):
        axis.set_yscale("log")
        axis.set_xlabel("token t")
        axis.set_ylabel(label)
    axes[0].set_ylim(1e-17, 10)
    axes[1].set_ylim(1e-17, 1e6)
    axes[0].legend(loc="lower right")
    axes[0].set_title("Φ −= g uᵀ, γ = 251/256: asymmetry of Φ", fontsize=11)
    axes[1].set_title("and what becomes of x", fontsize=11)
    axes[1].annotate("as wrong as x = 0", (1, 1), xycoords=("axes fraction", "data"), xytext=(-4, -4), textcoords="offset points",
                     fontsize=9, ha="right", va="top", bbox=dict(facecolor="white", edgecolor="none", pad=1.5))
    figure.tight_layout()
    style.save(figure, "growth.svg")


def failures():
    rows = text(style.table("failures.csv"))
    figure, axes = plt.subplots(figsize=(7, 4.6))
    colours = {"255/256": style.BLUE, "251/256": style.RED, "115/128": style.GREEN, "1/2": style.ORANGE}
    for gate, colour in colours.items():
        ends = []
        for name in PRECISION:
            seen = [r for r in style.select(rows, form="kalman", format=name, gamma=gate) if r["failure"] == r["failure"]]
            axes.plot([r["law"] for r in seen], [r["failure"] for r in seen], linestyle="", color=colour, marker=MARKER[name],
                      markerfacecolor="none", markersize=7)
            if seen:
                ends.append((seen[0]["law"], sorted(r["failure"] for r in seen)[len(seen) // 2]))
        axes.plot(*zip(*ends), color=colour, linewidth=.8)
        axes.annotate(f"γ = {gate}", ends[0], xytext=(-8, 14) if gate == "1/2" else (10, -14), textcoords="offset points", fontsize=9, va="center")
    span = [6, 1.4e4]
    axes.plot(span, span, label="law", **style.THEORY)
    for name in PRECISION:
        axes.plot([], [], color=style.BLACK, linestyle="", marker=MARKER[name], markerfacecolor="none", markersize=7, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("law: ln(1/u) / (−ln γ), tokens")
    axes.set_ylabel("first token with error of x above 1")
    axes.legend(loc="upper left")
    style.save(figure, "failure.svg")


def forms():
    rows = text(style.table("failures.csv"))
    shown = [g for g in ("1", "251/256", "1/2")]
    figure, all_axes = plt.subplots(len(shown), 1, figsize=(8, 8.4), sharex=True)
    for axes, gate in zip(all_axes, shown):
        for j, name in enumerate(PRECISION):
            for i, form in enumerate(FORMS):
                values = [min(r["worst"], 1e3) for r in style.select(rows, form=form, format=name, gamma=gate)]
                values.sort()
                at = i + .18 * (j - 1.5)
                axes.plot([at] * 2, [values[0], values[-1]], color=style.FORMATS[name], linewidth=1)
                axes.plot([at], [values[len(values) // 2]], linestyle="", color=style.FORMATS[name], marker=MARKER[name],
                          markersize=6, label=name if i == 0 else None)
        axes.axhline(1, **style.THEORY)
        if gate == "251/256":
            axes.annotate("as wrong as x = 0", (7.5, 1.6), fontsize=8.5, ha="right", va="bottom")
            axes.annotate("1000 or more, or not a number", (.45, 1e3), fontsize=8.5, va="center")
        axes.set_yscale("log")
        axes.set_ylim(1e-16, 1e4)
        axes.set_yticks([1e-15, 1e-10, 1e-5, 1])
        axes.set_ylabel(f"γ = {gate}\nworst error of x")
        axes.grid(axis="x", visible=False)
    all_axes[0].legend(loc="lower center", bbox_to_anchor=(.5, 1.0), ncol=4)
    all_axes[-1].set_xticks(range(len(FORMS)), FORMS.values(), fontsize=9)
    figure.tight_layout()
    style.save(figure, "forms.svg")


growth()
failures()
forms()
