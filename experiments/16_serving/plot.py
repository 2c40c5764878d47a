"""plot.py - error of o by the format of the states along a long run, and the law against what is measured."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

TYPES = {"fp32": (style.BLUE, "o", "fp32"), "bf16-pair": (style.SKY, "D", "two bf16 parts"), "fp16": (style.GREEN, "^", "fp16"),
         "bf16": (style.RED, "s", "bf16"), "bf16-stochastic": (style.PINK, "P", "bf16, stochastic"),
         "e4m3": (style.ORANGE, "v", "e4m3 and a scale")}


def mean(values):
    return sum(values) / len(values)


rows = style.table("drift.csv")
gates = [g for g in ("init", "none") if g in style.distinct(rows, "gate")]
figure, axes = plt.subplots(1, len(gates) + 1, figsize=(4 * (len(gates) + 1), 3.8))
for panel, gate in zip(axes, gates):
    for name, (colour, marker, label) in TYPES.items():
        chosen = style.select(rows, keys="real", gate=gate, type=name, state="both")
        times = sorted({r["t"] for r in chosen})
        panel.plot(times, [mean([r["o"] for r in chosen if r["t"] == t]) for t in times], color=colour, marker=marker, label=label)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xlabel("tokens decoded")
    panel.set_title(f"real keys, gate {gate}", fontsize=11)
axes[0].set_ylabel("relative error of o")
for name, (colour, marker, _) in TYPES.items():
    chosen = [r for r in rows if r["last"] == 1 and r["type"] == name and r["state"] != "both" and r["predicted"] > 0]
    axes[-1].plot([r["predicted"] for r in chosen], [r["error"] for r in chosen], linestyle="", color=colour, marker=marker)
axes[-1].plot((5e-6, 1), (5e-6, 1), **style.THEORY)
axes[-1].set_xscale("log")
axes[-1].set_yscale("log")
axes[-1].set_xlabel("predicted error of the state")
axes[-1].set_ylabel("measured")
figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncol=6, fontsize=9)
figure.tight_layout(rect=(0, .08, 1, 1))
style.save(figure, "serving.svg")
