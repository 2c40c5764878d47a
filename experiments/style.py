"""style.py - one look for every figure.

A solver has one colour and one line everywhere (Okabe and Ito's palette, told apart in grey by marker and
dash); theory is dashed and black; axes carry units. plot.py of an experiment is called as
`python3 experiments/NN_name/plot.py FOLDER` and writes its SVGs into the folder its tables lie in.
"""
import csv
import os
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")

GREY, PURPLE, BROWN = "#777777", "#5b2a86", "#8c510a"

# the library's name of a solver -> colour, marker, name in a legend. The filters are grey, purple and brown.
# No two have the same colour, and in grey no two the same marker and dash.
SOLVERS = {
    "chebyshev": (RED, "o", "Chebyshev, three-term"), "chebyshev2": (BLUE, "s", "Chebyshev, two-term"),
    "cg": (GREEN, "^", "CG"), "cg-guarded": (ORANGE, "v", "CG, guarded"), "cg-consistent": (SKY, "D", "CG, consistent"),
    "gradient": (PINK, "P", "gradient"), "nesterov": (YELLOW, "X", "Nesterov"), "cholesky": (BLACK, "+", "Cholesky"),
    "kalman": (GREY, "*", "Kalman, covariance"), "kalman-symmetrised": (PURPLE, "*", "Kalman, symmetrised"),
    "kalman-ud": (BROWN, "h", "Kalman, UD"),
}
DASHES = {"cg": "-", "cg-guarded": (0, (5, 2)), "chebyshev": (0, (3, 1.5)), "chebyshev2": (0, (1.2, 1.2)), "gradient": (0, (6, 2, 1, 2)),
          "nesterov": (0, (6, 2, 1, 2, 1, 2)), "cholesky": "-", "kalman-symmetrised": (0, (2, 2)), "kalman-ud": (0, (4, 1, 1, 1))}
FORMATS = {"fp64": BLACK, "fp32": BLUE, "tf32": SKY, "fp16": GREEN, "bf16": RED, "e4m3": ORANGE, "e5m2": PINK}
THEORY = dict(color="black", linestyle="--", linewidth=1.0, marker="")

plt.rcParams.update({
    "figure.figsize": (6.4, 4.0), "figure.dpi": 100, "savefig.bbox": "tight",
    "font.size": 11, "axes.labelsize": 11, "legend.fontsize": 9, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd",
    "grid.linewidth": 0.6, "lines.linewidth": 1.6, "lines.markersize": 5,
    "svg.hashsalt": "gka", "svg.fonttype": "path",
})


def folder():
    """The folder of the tables, from the command line."""
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(f"usage: {sys.argv[0]} FOLDER (with the tables that the experiment wrote)")
    return sys.argv[1]


def table(name):
    """Rows of a table as dictionaries; numbers become floats."""
    def value(text):
        try:
            return float(text)
        except ValueError:
            return text
    with open(os.path.join(folder(), name), newline="") as file:
        return [{k: value(v) for k, v in row.items()} for row in csv.DictReader(file)]


def select(rows, **wanted):
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def distinct(rows, column):
    """The values of a column in the order of their first appearance."""
    return list(dict.fromkeys(r[column] for r in rows))


def median_and_spread(rows, x, y):
    """xs, median, smallest, largest of y over the rows that share an x."""
    groups = {}
    for r in rows:
        groups.setdefault(r[x], []).append(r[y])
    xs = sorted(groups)
    ordered = [sorted(groups[k]) for k in xs]
    middle = [v[len(v) // 2] if len(v) % 2 else (v[len(v) // 2 - 1] + v[len(v) // 2]) / 2 for v in ordered]
    return xs, middle, [v[0] for v in ordered], [v[-1] for v in ordered]


def solver(name, **more):
    """How the lines of a solver look: its colour, marker and legend."""
    colour, marker, label = SOLVERS[name]
    return dict(color=colour, marker=marker, label=label, markeredgecolor=BLACK if colour == YELLOW else colour,
                markeredgewidth=.6 if colour == YELLOW else 1) | more


def lines(table):
    """Of name -> (colour, marker, name in a legend): name -> how its line looks. Dash and filling of the marker go by the place in
    the table, so that no two are alike in grey."""
    dashes = list(dict.fromkeys(DASHES.values()))
    return {name: dict(color=colour, marker=marker, label=label, linestyle=dashes[i % len(dashes)],
                       markerfacecolor=colour if i % 2 == 0 else "white")
            for i, (name, (colour, marker, label)) in enumerate(table.items())}


def label_line(axes, xs, ys, text, right=False):
    """A line of theory, dashed, with its name above its left end (or beyond its right one) instead of in the legend."""
    axes.plot(xs, ys, **THEORY)
    end, offset = (-1, (4, 0)) if right else (0, (0, 5))
    axes.annotate(text, (xs[end], ys[end]), xytext=offset, textcoords="offset points", va="center" if right else "bottom", fontsize=9)


def save(figure, name):
    figure.savefig(os.path.join(folder(), name), metadata={"Date": None})
    plt.close(figure)
