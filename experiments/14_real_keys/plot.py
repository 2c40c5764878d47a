"""plot.py - one point per head: conditioning, degrees of freedom and losses, by kind of keys."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

PANELS = (("mean", None, "length of the mean unit key"), ("share_open", None, "kappa over its bound\n(without gates, at T)"),
          ("freedom_open", None, "degrees of freedom of 64\n(without gates, at T)"),
          ("o3", "o2", "relative error of o"), ("dk3", "dk2", "relative error of dk"), ("dalpha3", "dalpha2", "relative error of dalpha"))

rows = style.table("heads.csv")
kinds = style.distinct(rows, "keys")
figure, axes = plt.subplots(2, 3, figsize=(10, 6))
for panel, (first, second, label) in zip(axes.flat, PANELS):
    for i, kind in enumerate(kinds):
        chosen = style.select(rows, keys=kind)
        for n, column in enumerate(c for c in (first, second) if c):
            values = sorted(r[column] for r in chosen)
            name = ("chebyshev", "chebyshev2")[n]
            colour, marker, _ = style.SOLVERS[name] if second else (style.BLACK, "o", "")
            xs = [i + (.18 * (2 * n - 1) if second else 0) + .1 * (j / max(len(values) - 1, 1) - .5) for j in range(len(values))]
            panel.plot(xs, values, linestyle="", marker=marker, color=colour, markersize=4, alpha=.75)
    panel.set_xticks(range(len(kinds)), kinds)
    panel.set_xlim(-.6, len(kinds) - .4)
    panel.set_ylabel(label)
    if second:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
lines = [plt.Line2D([], [], linestyle="", color=style.SOLVERS[s][0], marker=style.SOLVERS[s][1], label=t)
         for s, t in (("chebyshev", "released, three-term"), ("chebyshev2", "two-term"))]
figure.legend(handles=lines, loc="lower center", ncol=2)
figure.tight_layout(rect=(0, .05, 1, 1))
style.save(figure, "heads.svg")
