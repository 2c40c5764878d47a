"""plot.py - what each ridge remembers against the error it costs, and against the steps it takes."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

RULES = style.lines({"norm": (style.RED, "o", r"norm, $a\,||H||_F$ (released)"), "trace": (style.ORANGE, "v", r"trace, $a\,$tr$(H)/D$"),
         "fourth": (style.GREEN, "^", r"fourth eigenvalue"), "rest": (style.PINK, "P", r"norm without the leading direction"),
         "constant": (style.GREY, "X", "constant"), "count": (style.SKY, "D", r"count, $a\,n/D$"),
         "centred": (style.BLUE, "s", r"centred keys, $a\,||H_c||_F$")})
PANELS = (("o2", "relative error of o (two-term, bf16)"), ("r", "Chebyshev steps"))


def median(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


rows = style.table("ridges.csv")
kinds = style.distinct(rows, "keys")
figure, axes = plt.subplots(len(kinds), 2, figsize=(8, 2.5 * len(kinds) + .8), sharey=True, sharex="col", squeeze=False)
for j, kind in enumerate(kinds):
    for i, (column, label) in enumerate(PANELS):
        panel = axes[j][i]
        for rule, look in RULES.items():
            chosen = style.select(rows, keys=kind, rule=rule)
            whole = max((len([r for r in chosen if r["strength"] == s]) for s in {r["strength"] for r in chosen}), default=0)
            points = []
            for s in sorted({r["strength"] for r in chosen}):
                some = [r for r in chosen if r["strength"] == s]
                if len(some) == whole:
                    points.append((median([r[column] for r in some]), median([r["recall"] for r in some])))
            if points:
                panel.plot(*zip(*points), **look, markersize=5, linewidth=2.4 if rule in ("norm", "centred") else 1.2)
        panel.set_xscale("log")
        if j == len(kinds) - 1:
            panel.set_xlabel(label)
        if column == "o2":
            panel.axvline(.01, **style.THEORY)
            panel.set_ylabel(f"{kind} keys: recall error")
lines = [plt.Line2D([], [], **look) for look in RULES.values()]
figure.legend(handles=lines, loc="lower center", ncol=2, handlelength=4)
figure.tight_layout(rect=(0, .1, 1, 1))
style.save(figure, "ridge.svg")
