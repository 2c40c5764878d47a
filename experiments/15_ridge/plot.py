"""plot.py - what each ridge remembers against the error it costs, and against the steps it takes."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

RULES = {"norm": (style.RED, "o", r"norm, $a\,||H||_F$ (released)"), "trace": (style.ORANGE, "v", r"trace, $a\,$tr$(H)/D$"),
         "fourth": (style.GREEN, "^", r"fourth eigenvalue"), "rest": (style.PINK, "P", r"norm without the leading direction"),
         "constant": (style.GREY, "X", "constant"), "count": (style.SKY, "D", r"count, $a\,n/D$"),
         "centred": (style.BLUE, "s", r"centred keys, $a\,||H_c||_F$")}
PANELS = (("o2", "relative error of o (two-term, bf16)"), ("r", "Chebyshev steps"))


def median(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


rows = style.table("ridges.csv")
kinds = style.distinct(rows, "keys")
figure, axes = plt.subplots(2, len(kinds), figsize=(3.3 * len(kinds), 6.6), sharey=True, squeeze=False)
for j, kind in enumerate(kinds):
    for i, (column, label) in enumerate(PANELS):
        panel = axes[i][j]
        for rule, (colour, marker, _) in RULES.items():
            chosen = style.select(rows, keys=kind, rule=rule)
            whole = max((len([r for r in chosen if r["strength"] == s]) for s in {r["strength"] for r in chosen}), default=0)
            points = []
            for s in sorted({r["strength"] for r in chosen}):
                some = [r for r in chosen if r["strength"] == s]
                if len(some) == whole:
                    points.append((median([r[column] for r in some]), median([r["recall"] for r in some])))
            if points:
                panel.plot(*zip(*points), color=colour, marker=marker, markersize=4, linewidth=2.4 if rule in ("norm", "centred") else 1)
        panel.set_xscale("log")
        panel.set_xlabel(label, fontsize=9)
        if column == "o2":
            panel.axvline(.01, **style.THEORY)
            panel.set_title(kind, fontsize=11)
        if j == 0:
            panel.set_ylabel("recall error of the last 32 pairs\n(1: nothing remembered)", fontsize=9)
lines = [plt.Line2D([], [], color=c, marker=m, label=t) for c, m, t in RULES.values()]
figure.legend(handles=lines, loc="lower center", ncol=4, fontsize=9)
figure.tight_layout(rect=(0, .09, 1, 1))
style.save(figure, "ridge.svg")
