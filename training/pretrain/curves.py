"""Loss curves of a run: metrics.jsonl → PNG.

python -m training.pretrain.curves training/.runs/nano/metrics.jsonl curves.png
"""

import json
import sys
from pathlib import Path

SMOOTHING = 0.9  # exponential moving average of the training losses, which come every ten steps


def draw_curves(metrics: Path, image: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 4), sharey=True)
    for axis, kind in zip(axes, ("train", "validation")):
        axis.set_prop_cycle(color=pyplot.get_cmap("tab20").colors[::2] + pyplot.get_cmap("tab20").colors[1::2])
        names = list(dict.fromkeys(name for record in records for name in record.get(kind, {})))
        for name in names:
            points = [(r["tokens"] / 1e6, r[kind][name]) for r in records if name in r.get(kind, {})]
            x, y = zip(*points)
            if kind == "train":
                smooth = [y[0]]
                for value in y[1:]:
                    smooth.append(SMOOTHING * smooth[-1] + (1 - SMOOTHING) * value)
                y = smooth
            axis.plot(x, y, label=name, marker="." if kind == "validation" else None)
        axis.set(title=kind, xlabel="million tokens")
        axis.grid(alpha=0.3)
        if names:
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    axes[0].set_ylabel("nats")
    figure.tight_layout()
    figure.savefig(image, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    draw_curves(Path(sys.argv[1]), Path(sys.argv[2]))
