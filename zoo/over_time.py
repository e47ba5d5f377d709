"""What a track sounds like from second to second: rows, runs of one genre, and a picture."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

MOST_DRAWN = 9  # classes that get a colour of their own
MOST_POINTS = 2000  # along the time axis: more are averaged, a picture has no more columns


class Run(NamedTuple):
    """Seconds, one after the other, that get one answer."""

    start: int  # second
    stop: int  # second after the last
    genre: str
    probability: float  # mean


def runs(genres: list[str], probabilities: np.ndarray) -> list[Run]:
    """Join neighbouring seconds of the same genre."""
    changes = [i for i in range(1, len(genres)) if genres[i] != genres[i - 1]]
    edges = [0, *changes, len(genres)]
    return [Run(a, b, genres[a], float(np.mean(probabilities[a:b]))) for a, b in pairwise(edges)]


def clock(seconds: float) -> str:
    """Return 3:05, or 1:03:05 from an hour on."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def tick(num_seconds: int) -> int:
    """Return the distance of marks on the time axis, in seconds: round, and at most ten of them."""
    round_ones = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
    return next((s for s in round_ones if num_seconds <= 10 * s), 4 * 3600)


def draw(
    file: Path, title: str, classes: tuple[str, ...], prob_NK: np.ndarray, multilabel: bool
) -> None:
    """Draw probabilities by second: stacked for one label, as lines for several."""
    step = -(-len(prob_NK) // MOST_POINTS)
    edges = np.arange(0, len(prob_NK), step)
    sizes = np.diff([*edges, len(prob_NK)])
    mean_NK = np.add.reduceat(prob_NK, edges) / sizes[:, None]
    time_N = edges + sizes / 2
    shown = np.argsort(-mean_NK.mean(0), kind="stable")[:MOST_DRAWN]
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes: Axes = figure.subplots()
    palette = matplotlib.colormaps["tab10" if len(classes) <= 10 else "tab20"]
    colors = [palette(k % palette.N) for k in shown]  # of a class the same in all pictures
    names = [classes[k] for k in shown]
    if multilabel:
        for k, name, color in zip(shown, names, colors, strict=False):
            axes.plot(time_N, mean_NK[:, k], label=name, color=color)
    else:
        layers = [mean_NK[:, k] for k in shown]
        if len(classes) > len(shown):
            names.append("others")
            layers.append(1 - np.sum(layers, axis=0))
            colors.append((0.8, 0.8, 0.8, 1.0))
        edge_N = np.concatenate([[0], time_N, [len(prob_NK)]])  # to both ends of the picture
        layers = [np.concatenate([y[:1], y, y[-1:]]) for y in layers]
        axes.stackplot(edge_N, layers, labels=names, colors=colors)
    axes.set(xlim=(0, len(prob_NK)), ylim=(0, 1), xlabel="time", ylabel="probability", title=title)
    axes.xaxis.set_major_locator(MultipleLocator(tick(len(prob_NK))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: clock(second)))
    handles, labels = axes.get_legend_handles_labels()
    order = slice(None) if multilabel else slice(None, None, -1)  # as they are stacked
    axes.legend(handles[order], labels[order], loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file, dpi=120)
