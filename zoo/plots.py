"""Pictures of a run: what is taken for what, and how training went."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.datasets.base import Manifest
from zoo.results import Result

MOST_NAMES = 60  # classes whose names still fit


def confusion(file: Path, manifest: Manifest, scores: np.ndarray) -> None:
    """Draw, for the tracks of each class, the share taken for each class; for several labels,
    the mean probability of each tag."""
    targets, classes = manifest.targets(), manifest.classes
    if manifest.multilabel:
        votes, onehot, what = scores, targets, "mean probability"
    else:
        onehot, votes = np.eye(len(classes))[targets], np.eye(len(classes))[scores.argmax(1)]
        what = "share of tracks"
    shares = (onehot.T @ votes) / np.maximum(onehot.sum(0)[:, None], 1)
    size = 3.5 + 0.4 * min(len(classes), MOST_NAMES)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1 if not manifest.multilabel else None, cmap="Blues")
    figure.colorbar(image, label=what, shrink=0.8)
    title = f"{manifest.name}: {len(scores)} test tracks"
    axes.set(xlabel="taken for", ylabel="true label", title=title)
    if len(classes) <= MOST_NAMES:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        _write_numbers(axes, shares)
    figure.savefig(file, dpi=120)


def _write_numbers(axes: Axes, shares: np.ndarray) -> None:
    dark = shares.max() / 2
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            color = "white" if share > dark else "black"
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=color, size=8)


def curves(file: Path, history: list[dict[str, float]], result: Result) -> None:
    """Draw training loss and validation metric by epoch."""
    epochs = [int(row["epoch"]) for row in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["train_loss"] for row in history], marker=".")
    left.set(xlabel="epoch", ylabel="training loss", title="with augmentation and label smoothing")
    metric = f"validation_{result.primary}"
    right.plot(epochs, [row[metric] for row in history], marker=".", label="validation")
    right.axvline(result.best_epoch, color="gray", linestyle=":", label="best epoch, kept")
    test = result.metrics["test"][result.primary]
    right.axhline(test, color="tab:orange", linestyle="--", label=f"test {test:.3f}")
    right.set(xlabel="epoch", ylabel=result.primary.replace("_", " "), title="averaged weights")
    right.legend()
    figure.suptitle(f"{result.model} with {result.frontend} on {result.protocol.dataset}")
    figure.savefig(file, dpi=120)
