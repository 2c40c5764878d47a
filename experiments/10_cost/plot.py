"""plot.py - time against T, with the limit of the products; against r, C and D; the layer beside attention."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

PROFILES = {"exact64": (style.BLACK, "o", "binary64"), "h100": (style.BLUE, "s", "H100, emulated")}


def length():
    rows = style.select(style.table("time.csv"), axis="T")
    figure, all_axes = plt.subplots(1, 2, figsize=(9.6, 3.8))
    for name, (colour, marker, label) in PROFILES.items():
        chosen = sorted(style.select(rows, profile=name), key=lambda r: r["T"])
        ts = [r["T"] for r in chosen]
        all_axes[0].plot(ts, [r["seconds"] for r in chosen], color=colour, marker=marker, label=label)
        all_axes[0].plot(ts, [r["limit"] for r in chosen], color=colour, linestyle=":", label=f"{label}: products alone")
        all_axes[1].plot(ts, [r["workspace"] / 1024 for r in chosen], color=colour, marker=marker, label=f"{label}: workspace")
    end = max(rows, key=lambda r: r["seconds"])
    all_axes[0].plot([1024, end["T"]], [end["seconds"] * 1024 / end["T"] * .45, end["seconds"] * .45], label="slope 1", **style.THEORY)
    ts = sorted({r["T"] for r in rows})
    width = rows[0]["D"]
    all_axes[1].plot(ts, [t * width * 10 / 1024 for t in ts], color=style.SKY, marker="^", label="inputs and outputs, bf16")
    for axes in all_axes:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("sequence length T, tokens")
    low, high = all_axes[0].get_ylim()
    all_axes[0].set_ylim(low, 8 * high)
    all_axes[0].legend(fontsize=8.5, loc="upper left")
    all_axes[1].legend(fontsize=8.5, loc="upper left")
    all_axes[0].set_ylabel("processor time, s (one thread)")
    all_axes[1].set_ylabel("memory, KiB")
    figure.suptitle(f"forward, one head, D = {int(width)}, C = {int(rows[0]['C'])}, r = {int(rows[0]['r'])}", fontsize=11)
    figure.tight_layout()
    style.save(figure, "length.svg")


def rest():
    rows = style.table("time.csv")
    figure, all_axes = plt.subplots(1, 3, figsize=(10.5, 3.8))
    for axes, (axis, label) in zip(all_axes, (("r", "iterations r"), ("C", "chunk size C, tokens"), ("D", "key size D"))):
        for name, (colour, marker, text) in PROFILES.items():
            chosen = sorted(style.select(rows, axis=axis, profile=name, form="two-term"), key=lambda r: r[axis])
            axes.plot([r[axis] for r in chosen], [1e6 * r["seconds"] / r["T"] for r in chosen], color=colour, marker=marker, label=text)
            axes.plot([r[axis] for r in chosen], [1e6 * r["limit"] / r["T"] for r in chosen], color=colour, linestyle=":",
                      label=f"{text}: products alone")
        axes.set_xlabel(label)
        if axis != "r":
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            ticks = sorted({r[axis] for r in style.select(rows, axis=axis)})
            axes.set_xticks(ticks, [f"{int(t)}" for t in ticks])
        else:
            axes.set_ylim(0)
    all_axes[0].set_ylabel("processor time per token, µs")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="upper center", ncol=4, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, .93))
    style.save(figure, "rest.svg")


def model():
    rows = style.table("model.csv")
    figure, axes = plt.subplots()
    ts = [r["T"] for r in rows]
    for column, colour, marker, label in (("attention", style.GREEN, "^", "softmax attention"), ("chunks", style.BLUE, "s", "this layer by chunks, C = 64, r = 30"),
                                          ("tokens", style.SKY, "D", "this layer token by token"), ("no_solve", style.ORANGE, "v", "by chunks, r = 0 (no solve)")):
        axes.plot(ts, [r[column] for r in rows], color=colour, marker=marker, label=label)
    axes.axvline(rows[0]["chunks"] / 128, **style.THEORY)
    axes.annotate(f"{rows[0]['chunks'] / 128:.0f} tokens", (rows[0]["chunks"] / 128 * 1.1, 4e4), fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("sequence length T, tokens")
    axes.set_ylabel("multiply-adds per token (D = 128)")
    axes.legend(fontsize=9)
    style.save(figure, "model.svg")


length()
rest()
model()
