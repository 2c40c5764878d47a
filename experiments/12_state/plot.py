"""plot.py - drift of a state along t; what is forgotten; how slow the gates are; the tensor core's sign."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

FORMATS = {"bf16": (style.FORMATS["bf16"], "o", "-"), "bf16 toward zero": (style.ORANGE, "v", "-"),
           "bf16 stochastic": (style.PINK, "D", "-"), "fp16": (style.FORMATS["fp16"], "^", "-"),
           "mxfp8": (style.YELLOW, "<", "-"), "mxfp6": (style.SKY, ">", "-"), "mxfp4": (style.GREY, "x", "-"),
           "nvfp4": (style.BLACK, "+", "-"), "e4m3 1x128": (style.GREEN, "P", "--"),
           "fp32": (style.FORMATS["fp32"], "s", "-")}
GATES = {"none": "no gate", "slow": "released gates, 100 times slower", "released": "released gates"}
CORES = {"h100": (style.RED, "o", "H100, chunks of 64"), "ieee32": (style.BLUE, "s", "fp32, rounded to nearest"),
         "decode": (style.GREEN, "^", "one-token kernel")}


def band(axes, rows, column, colour, marker, label, **more):
    rows = [dict(r, shown=abs(r[column])) for r in rows]
    xs, middle, low, high = style.median_and_spread(rows, "t", "shown")
    axes.plot(xs, middle, color=colour, marker=marker, label=label, **more)
    axes.fill_between(xs, low, high, color=colour, alpha=.15, linewidth=0)


def log_axes(axes):
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("token t")


def drift():
    rows = style.table("drift.csv")
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 4.2), sharey=True)
    for axes, (gate, title) in zip(all_axes, GATES.items()):
        for name, (colour, marker, _) in FORMATS.items():
            band(axes, style.select(rows, gate=gate, format=name), "error", colour, marker, name)
        log_axes(axes)
        axes.set_title(title, fontsize=11)
        ts = sorted({r["t"] for r in rows})
        u = 2.0 ** -8
        style.label_line(axes, ts[:8], [t * u for t in ts[:8]], "t u")
        style.label_line(axes, ts, [t ** .5 * u for t in ts], "√t u", right=True)
        axes.set_ylim(1e-8, 8)
    all_axes[0].set_ylabel("relative error of H (dashed: u of bf16)")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="upper center", ncol=6, fontsize=8.5)
    figure.tight_layout(rect=(0, 0, 1, .93))
    style.save(figure, "drift.svg")


def decay():
    rows = style.table("decay.csv")
    figure, axes = plt.subplots()
    powers = sorted({r["power"] for r in rows})
    for name, (colour, marker, _) in FORMATS.items():
        chosen = [max(style.select(rows, format=name, power=p), key=lambda r: r["t"]) for p in powers]
        axes.plot(powers, [max(r["size"], 1e-9) for r in chosen], color=colour, marker=marker, label=name)
    axes.plot(powers, [style.select(rows, format="fp32", power=p)[-1]["exact"] for p in powers], label="exact", **style.THEORY)
    axes.set_yscale("log")
    axes.set_ylim(5e-10, 30)
    axes.set_xticks(powers, [f"2$^{{-{int(p)}}}$" for p in powers])
    axes.set_xlabel("1 − γ, forgotten per token")
    axes.set_ylabel("‖H‖ left after 8/(1 − γ) tokens of nothing")
    axes.annotate("1e-9 and less", (powers[-1], 2e-9), ha="right", fontsize=9)
    axes.legend(loc="center left", bbox_to_anchor=(1, .5))
    style.save(figure, "decay.svg")


def gates():
    rows = style.table("gates.csv")
    figure, axes = plt.subplots()
    for gate, colour, dash in (("released", style.BLUE, "-"), ("slow", style.RED, ":")):
        values = sorted(r["mean"] for r in style.select(rows, gate=gate))
        axes.plot(values, [100 * (i + 1) / len(values) for i in range(len(values))], color=colour, linestyle=dash, linewidth=2.2,
                  label=GATES[gate])
    for p, name in ((9, "bf16"), (12, "fp16")):
        axes.axvline(2.0 ** -p, ymax=.93, label="never forgets below" if p == 9 else None, **style.THEORY)
        axes.annotate(name, (2.0 ** -p, 104), ha="center", fontsize=10)
    axes.set_xscale("log", base=2)
    axes.set_xlim(2.0 ** -19, 1)
    axes.set_xlabel("1 − γ, mean over 512 tokens of a head")
    axes.set_ylabel("heads below this, %")
    axes.set_ylim(-3, 110)
    axes.legend(loc="lower center", bbox_to_anchor=(.5, 1), ncol=3)
    style.save(figure, "gates.svg")


def core():
    rows = style.table("core.csv")
    figure, all_axes = plt.subplots(1, 2, figsize=(10, 4.2))
    for axes, column, label in zip(all_axes, ("bias", "error"), ("bias of the diagonal of H, absolute value", "relative error of H")):
        gate = "none" if column == "bias" else "released"
        for name, (colour, marker, text) in CORES.items():
            chosen = style.select(rows, gate=gate, core=name)
            sign = sum(r["bias"] for r in chosen if r["t"] == max(c["t"] for c in chosen))
            band(axes, chosen, column, colour, marker, text + (f" ({'−' if sign < 0 else '+'})" if column == "bias" else ""),
                 **(dict(markersize=10, markerfacecolor="none", linewidth=3) if name == "h100" else {}))
        log_axes(axes)
        ts = sorted({r["t"] for r in rows})
        style.label_line(axes, ts, [t * 2.0 ** -24 for t in ts], "t u")
        style.label_line(axes, ts, [t ** .5 * 2.0 ** -24 for t in ts], "√t u")
        axes.set_ylabel(label)
        axes.set_title(GATES[gate] + " (dashed: u of fp32)", fontsize=11)
        axes.legend(fontsize=8.5, loc="center right" if column == "error" else "best")
    figure.tight_layout()
    style.save(figure, "core.svg")


drift()
decay()
gates()
core()
