"""Which chunks of a track a model hears: all of it, parts, or a window around every second.

`[N]` starts in samples, of chunks as long as those that the model was trained on. A track that is
shorter than a chunk is one chunk, repeated.
"""

from collections.abc import Callable

import numpy as np

from zoo.chunks import complete_chunks

Span = tuple[float, float]  # seconds, from and to
Place = Callable[[int], np.ndarray]
"""From a track's length in samples to the starts of its chunks."""


def whole(seconds: float) -> list[Span]:
    """All of a track."""
    return [(0.0, seconds)]


def middle(seconds: float) -> list[Span]:
    """The 30 s in the middle."""
    return [(seconds / 2 - 15, seconds / 2 + 15)]


def three(seconds: float) -> list[Span]:
    """10 s each in the middles of the first, the second and the last third."""
    middles = [seconds * part / 6 for part in (1, 3, 5)]
    return [(at - 5, at + 5) for at in middles]


LISTEN: dict[str, Callable[[float], list[Span]]] = {
    "all": whole,
    "30s-middle": middle,
    "3x10s": three,
}


def listening(listen: str, sample_rate: int, clip: int) -> Place:
    """Return what places chunks of `clip` samples for a name of `LISTEN`: as few of them, evenly
    spaced, as cover each span. A span that is shorter than a chunk is widened to one."""

    def place(num_samples: int) -> np.ndarray:
        starts = []
        for begin, end in LISTEN[listen](num_samples / sample_rate):
            span = min(num_samples, max(clip, round((end - begin) * sample_rate)))
            centre = (begin + end) / 2 * sample_rate
            first = min(max(0, round(centre - span / 2)), num_samples - span)
            starts.append(first + complete_chunks(np.array([span]), clip)[1])
        return np.unique(np.concatenate(starts))

    return place


def every_second(sample_rate: int, clip: int, step: int = 1) -> Place:
    """Return what places a chunk around the middle of each second, or of each `step` seconds; near
    the ends of the track they stay inside it. A last step of less than half is left out."""

    def place(num_samples: int) -> np.ndarray:
        num_steps = max(1, int(num_samples / (step * sample_rate) + 0.5))
        middles = (np.arange(num_steps) + 0.5) * step * sample_rate
        latest = max(0, num_samples - clip)
        return np.clip(np.rint(middles - clip / 2), 0, latest).astype(np.int64)

    return place
