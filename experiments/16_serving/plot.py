"""plot.py - error of o by the format of the states along a long run, and the law against what is measured."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import style  # noqa: E402
from style import plt  # noqa: E402

TYPES = style.lines({"fp32": (style.BLUE, "o", "fp32"), "bf16-pair": (style.SKY, "D", "two bf16 parts"), "fp16": (style.GREEN, "^", "fp16"),
         "bf16": (style.RED, "s", "bf16"), "bf16-stochastic": (style.PINK, "P", "bf16, stochastic"),
         "e4m3": (style.ORANGE, "v", "e4m3 and a scale")})


def mean(values):
    return sum(values) / len(values)


rows = style.table("drift.csv")
gates = [g for g in ("init", "none") if g in style.distinct(rows, "gate")]
figure, axes = plt.subplots(2, 2, figsize=(8, 6.6))
axes, law = axes.flat, axes[1][0]
for panel, gate in zip(axes, gates):
    for name, look in TYPES.items():
        chosen = style.select(rows, keys="real", gate=gate, type=name, state="both")
        times = sorted({r["t"] for r in chosen})
        panel.plot(times, [mean([r["o"] for r in chosen if r["t"] == t]) for t in times], **look)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xlabel("tokens decoded")
    panel.set_title(f"real keys, gate {gate}", fontsize=11)
axes[0].set_ylabel("relative error of o")
for name, look in TYPES.items():
    chosen = [r for r in rows if r["last"] == 1 and r["type"] == name and r["state"] != "both" and r["predicted"] > 0]
    law.plot([r["predicted"] for r in chosen], [r["error"] for r in chosen], **look | dict(linestyle=""))
law.plot((5e-6, 1), (5e-6, 1), **style.THEORY)
law.set_xscale("log")
law.set_yscale("log")
law.set_xlabel("predicted error of the state")
law.set_ylabel("measured")
axes[3].legend(*axes[0].get_legend_handles_labels(), loc="center", handlelength=4)
axes[3].set_axis_off()
figure.tight_layout()
style.save(figure, "serving.svg")
