"""Which pieces of which tracks: random chunks to train on, complete ones to evaluate.

Everything is a function of (seed, epoch, step), so that a resumed run repeats the other one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

PUBLISHED_CHUNKS = 16
DEFAULT_EPOCHS = 10


def num_chunks(lengths: np.ndarray, length: int) -> np.ndarray:
    """Return ceil(T / L), the number of chunks that cover each track."""
    return np.maximum(1, -(-lengths // length))


@dataclass(frozen=True)
class TrainingChunks:
    """One random chunk of `length` samples of each track an epoch, in a new order each time."""

    lengths: np.ndarray  # samples of each training track
    length: int  # samples
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches; the last one is filled up from the start of the order."""
        return -(-len(self.lengths) // self.batch_size)

    def batch(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (tracks, starts in samples) of a batch, each `[B]`."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))
        order = np.resize(order, self.steps_per_epoch * self.batch_size)
        tracks = order[step * self.batch_size : (step + 1) * self.batch_size]
        spare = self.lengths[tracks] - self.length
        # a track shorter than the chunk is repeated, from any place in it
        choices = np.where(spare >= 0, spare + 1, self.lengths[tracks])
        return tracks, np.random.default_rng([self.seed, epoch, step]).integers(choices)


def num_epochs(config: Any, steps_per_epoch: int) -> int:
    """Return how many epochs a configuration asks for: `epochs`, else 10, or as many as it takes
    for `min_steps` steps."""
    return config.epochs or max(DEFAULT_EPOCHS, -(-config.min_steps // steps_per_epoch))


def complete_chunks(lengths: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (track, start) of ceil(T / L) evenly spaced chunks that cover each track."""
    counts = num_chunks(lengths, length)
    tracks = np.repeat(np.arange(len(lengths)), counts)
    places = [np.linspace(0.0, 1.0, n) if n > 1 else np.zeros(1) for n in counts]
    spare = np.maximum(lengths[tracks] - length, 0)
    return tracks, np.rint(np.concatenate([[], *places]) * spare).astype(np.int64)


def published_chunks(lengths: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (track, start) of 16 evenly spaced chunks of each track, as Won et al. 2020 evaluate:
    from its start on, at multiples of (T - L) // 16, so that the last one ends before the track.

    A track that is no longer than a chunk gives one.
    """
    spare = np.maximum(lengths - length, 0)
    counts = np.where(spare > 0, PUBLISHED_CHUNKS, 1)
    tracks = np.repeat(np.arange(len(lengths)), counts)
    numbers = np.concatenate([np.arange(0), *(np.arange(n) for n in counts)])
    return tracks, numbers * (spare[tracks] // PUBLISHED_CHUNKS)


EVALUATIONS = {"complete": complete_chunks, "published": published_chunks}
