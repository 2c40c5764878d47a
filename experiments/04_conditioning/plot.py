"""plot.py - condition number along t under two ridges; what 30 steps leave; error of every solver against kappa."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

KEYS = {"iid": (style.BLUE, "o", "random keys"), "powerlaw": (style.GREEN, "^", "power law"),
        "lowrank": (style.ORANGE, "s", "rank 8 + noise"), "repeat": (style.RED, "D", "one key")}
GATES = {"plain": "unit keys, no gate", "slow": "slow gates", "released": "gates of the\nreleased initialisation"}
ROUNDOFF = {"fp32": 2.0 ** -24, "bf16-mixed": 2.0 ** -8, "bf16": 2.0 ** -8}
# Left out: cg-consistent and the covariance form, which lie on cg and on the symmetrised form here.
SHOWN = [name for name in style.SOLVERS if name not in ("cg-consistent", "kalman")]
ARITHS = {"fp32": "fp32", "bf16-mixed": "bf16 operands, else fp32", "bf16": "everything in bf16"}


def panels(rows):
    """(title, its rows) for the gates shown and for the keys of a file."""
    found = [(title, [r for r in rows if r["gate"] == gate and r["keys"] in KEYS]) for gate, title in GATES.items()]
    files = [r for r in rows if r["keys"] not in KEYS]
    if files:
        found.append((f"keys of a file:\n{files[0]['keys']}", files))
    return found


def along_t(axes, rows, column):
    for keys in style.distinct(rows, "keys"):
        colour, marker, label = KEYS.get(keys, (style.BLACK, "*", "keys of a file"))
        t, middle, low, high = style.median_and_spread(style.select(rows, keys=keys), "t", column)
        axes.plot(t, middle, color=colour, marker=marker, markevery=2, label=label)
        axes.fill_between(t, low, high, color=colour, alpha=.2, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([1, 16, 256, 4096])


def grid(rows, columns, labels, limits):
    shown = panels(rows)
    figure, all_axes = plt.subplots(len(columns), len(shown), figsize=(2.8 * len(shown), 2.9 * len(columns)), sharey="row",
                                    sharex=True, squeeze=False)
    for line, column, label, limit in zip(all_axes, columns, labels, limits):
        for axes, (_, chosen) in zip(line, shown):
            along_t(axes, chosen, column)
            axes.set_ylim(*limit)
        line[0].set_ylabel(label)
    for top, bottom, (title, _) in zip(all_axes[0], all_axes[-1], shown):
        top.set_title(title, fontsize=10)
        bottom.set_xlabel("token t")
    all_axes[0][0].set_xlim(.8, 1.3 * max(r["t"] for r in rows))
    return figure, all_axes


def kappa(rows):
    figure, axes = grid(rows, ("kappa", "kappa_constant"), ("κ, ridge .02 f", "κ, ridge 1/4"), ((1, 1e2), (1, 2e4)))
    for axis in axes[0]:
        axis.axhline(51, **style.THEORY)
    axes[0][0].annotate("(a + 1)/a = 51", (2, 60), fontsize=9)
    t = [1, 2048]
    axes[1][0].plot(t, [4 * i + 1 for i in t], **style.THEORY)
    axes[1][0].annotate("4 t + 1", (60, 1200), fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, .94))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=4)
    style.save(figure, "kappa.svg")


def residual(rows):
    figure, axes = grid(rows, ("residual_constant",), ("residual after 30 steps,\nridge 1/4",), ((1e-9, 3),))
    for axis in axes[0]:
        axis.axhline(1 / math.cosh(31 * math.acosh(1.04)), **style.THEORY)
    axes[0][-1].annotate("ridge .02 f: at most this", (1.2, 6e-4), fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, .9))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=4)
    style.save(figure, "residual.svg")


def solvers():
    """Keys for which the largest eigenvalue is near f, so that kappa is what the solvers assume. Breakdowns and errors above
    300 are drawn at 300."""
    rows = [r for r in style.table("solvers.csv") if r["keys"] != "iid"]
    for r in rows:
        r["bin"] = round(2 * math.log10(r["kappa"]))
        r["error"] = min(r["error"], 300) if math.isfinite(r["error"]) else 300
    figure, all_axes = plt.subplots(2, 3, figsize=(9, 7.4), sharex=True)
    for line, budget in zip(all_axes, (30, 480)):
        for axes, (arith, title) in zip(line, ARITHS.items()):
            chosen = style.select(rows, arith=arith)
            for name in SHOWN:
                direct = name == "cholesky" or name.startswith("kalman")
                mine = style.select(chosen, solver=name, r=30.0 if direct else float(budget))
                if not mine:
                    continue
                at, middle, low, high = style.median_and_spread(mine, "bin", "error")
                axes.plot([10 ** (b / 2) for b in at], middle, **style.solver(name, markersize=6, linewidth=1.4, linestyle=style.DASHES[name],
                                                                              markevery=(SHOWN.index(name) % 2, 2)))
            span = [1.3, 1e4]
            axes.plot(span, [ROUNDOFF[arith] * k for k in span], label="u κ", **style.THEORY)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim((1e-8, 1e1) if arith == "fp32" else (1e-4, 1e3))
            axes.set_title(f"{title},\nr = {budget}", fontsize=10)
            if budget == 480:
                axes.set_xlabel("condition number κ")
        line[0].set_ylabel("relative error of x")
    figure.tight_layout(rect=(0, 0, 1, .9))
    found = {}
    for axes in all_axes.flat:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    figure.legend(found.values(), found.keys(), loc="upper center", ncol=4)
    style.save(figure, "solvers.svg")


spectrum = style.table("spectrum.csv")
kappa(spectrum)
residual(spectrum)
solvers()
