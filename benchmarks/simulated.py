"""Made-up verdicts with a known truth: artists, tracks, models and seeds as in real test sets.

A track is right where a normal variable is below a threshold. It is made of the artist's part, the
track's (some tracks are hard for every model and seed) and the run's own; so the accuracy of a seed
over endlessly many artists is exactly what was drawn for it, and the mean of seeds the model's.

Letters: R repeats, M models, S seeds, G artists, B tracks.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

TRACKS = {"equal": (10,), "unequal": (4, 8, 12, 16, 10), "one": (1,)}  # of an artist each, in turn
SHARED = 0.5  # of what varies between an artist's tracks is the same for all models and seeds
AT_ONCE = 5_000_000  # numbers drawn
NORMAL = ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)  # one drawn is soon found


@dataclass(frozen=True)
class Cell:
    """What is drawn. `icc` is the intraclass correlation of verdicts, `seed_sd` the standard
    deviation of accuracy between seeds."""

    accuracies: tuple[float, ...]  # of each model
    icc: float
    num_artists: int
    tracks: str = "unequal"
    num_seeds: int = 1
    seed_sd: float = 0.0

    @property
    def sizes(self) -> np.ndarray:
        """The number of each artist's tracks."""
        return np.resize(TRACKS[self.tracks], self.num_artists)


@cache
def latent_share(accuracy: float, icc: float) -> float:
    """Return the artist's share of the normal variance that gives verdicts this correlation."""
    if icc == 0:
        return 0.0
    node, weight = np.polynomial.hermite_e.hermegauss(80)

    def excess(share: float) -> float:
        chance = ndtr((ndtri(accuracy) + np.sqrt(share) * node) / np.sqrt(1 - share))
        both = chance**2 @ weight / weight.sum()
        return float((both - accuracy**2) / (accuracy * (1 - accuracy)) - icc)

    return float(brentq(excess, 1e-6, 0.995))


def draw(rng: np.random.Generator, cell: Cell, repeats: int) -> np.ndarray:
    """Return how many of each artist's tracks each run has right, `[R,M,S,G]`."""
    shape = (repeats, len(cell.accuracies), cell.num_seeds)
    mean_M = np.array(cell.accuracies)
    accuracy_RMS = np.broadcast_to(mean_M[:, None], shape)
    if cell.seed_sd:
        total_M = mean_M * (1 - mean_M) / cell.seed_sd**2 - 1
        right_M1, wrong_M1 = (mean_M * total_M)[:, None], ((1 - mean_M) * total_M)[:, None]
        accuracy_RMS = rng.beta(right_M1, wrong_M1, shape).clip(1e-9, 1 - 1e-9)
    threshold_RMS = ndtri(accuracy_RMS).astype(np.float32)
    step = max(1, AT_ONCE // (shape[1] * shape[2] * cell.sizes.sum()))
    starts = range(0, repeats, step)
    return np.concatenate([_draw(rng, cell, threshold_RMS[i : i + step]) for i in starts])


def _draw(rng: np.random.Generator, cell: Cell, threshold_RMS: np.ndarray) -> np.ndarray:
    size_G, repeats = cell.sizes, len(threshold_RMS)
    artist = latent_share(cell.accuracies[0], cell.icc)
    track, own = (1 - artist) * SHARED, (1 - artist) * (1 - SHARED)
    artist_RG = rng.standard_normal((repeats, len(size_G)), np.float32) * np.float32(artist**0.5)
    common_RB = rng.standard_normal((repeats, size_G.sum()), np.float32) * np.float32(track**0.5)
    common_RB += np.repeat(artist_RG, size_G, axis=-1)
    shape = (*threshold_RMS.shape, size_G.sum())
    x_RMSB = np.float32(own**0.5) * NORMAL[rng.integers(2**16, size=shape, dtype=np.uint16)]
    x_RMSB += common_RB[:, None, None]
    right_RMSB = x_RMSB < threshold_RMS[..., None]
    first_G = size_G.cumsum() - size_G
    return np.add.reduceat(right_RMSB, first_G, axis=-1, dtype=np.int16).astype(np.float64)


def draw_beta_binomial(rng: np.random.Generator, cell: Cell, repeats: int) -> np.ndarray:
    """Return the same of a single run of one model, from artists whose accuracy is of a beta
    distribution, `[R,1,1,G]`."""
    (mean,), shape = cell.accuracies, (repeats, 1, 1, cell.num_artists)
    total = 1 / cell.icc - 1 if cell.icc else np.inf
    chance = rng.beta(mean * total, (1 - mean) * total, shape) if cell.icc else mean
    return rng.binomial(cell.sizes, chance, shape).astype(np.float64)
