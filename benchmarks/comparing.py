"""Whether two checkpoints, or two architectures, differ; ranks and ties.

A checkpoint is one file, compared on tracks alone (exact McNemar). An architecture may be trained
again: its seeds count too. Within a protocol p-values are adjusted together (Holm).

Letters: B tracks, G units, S and T seeds, M models, X any leading dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from zoo.statistics import LEVEL, MIN_SEEDS, PooledVariance, Spread, spread, unit_sums


@dataclass(frozen=True)
class Comparison:
    """`difference` is a less b. Of checkpoints, how many tracks only a, or only b, has right."""

    difference: float
    low: float
    high: float
    p_value: float
    method: str
    a_only: int | None = None
    b_only: int | None = None


def compare_checkpoints(
    correct_a_B: np.ndarray, correct_b_B: np.ndarray, units_B: np.ndarray, level: float = LEVEL
) -> Comparison:
    """Compare two checkpoints on the same tracks, 1 where right and 0 where wrong.

    The p-value is exact: if both were equally good, the verdicts on each unit might as well be
    swapped. Where tracks are the units, this is McNemar's exact test (1947). ValueError for
    other values than 0 and 1.
    """
    correct_2B = np.array([correct_a_B, correct_b_B])
    if not np.isin(correct_2B, (0, 1)).all():
        raise ValueError("a track is right (1) or wrong (0)")
    apart_B = correct_2B[0].astype(int) - correct_2B[1].astype(int)
    sum_G, size_G = unit_sums(apart_B, units_B)
    difference, half = float(apart_B.mean()), np.inf
    if len(size_G) > 1:
        of = padded(spread(sum_G, size_G), size_G.sum())
        half = float(stdtrit(of.df, (1 + level) / 2) * np.sqrt(of.variance))
    return Comparison(
        difference,
        max(difference - half, -1.0),
        min(difference + half, 1.0),
        swap_p_value(sum_G.round().astype(int)),
        "exact McNemar" if size_G.max() == 1 else "exact test of swapped units",
        int((apart_B > 0).sum()),
        int((apart_B < 0).sum()),
    )


def swap_p_value(sum_G: np.ndarray) -> float:
    """Return how often sums of integers whose signs are drawn by coin are as far from 0 as this one
    is: Fisher's randomisation test (1935), by convolution over units, without drawing."""
    size_G = np.abs(sum_G[sum_G != 0])
    if not len(size_G):
        return 1.0
    if size_G.max() == size_G.min():
        from scipy.stats import binomtest  # half a second, which no table needs

        return float(binomtest(int((sum_G > 0).sum()), len(size_G)).pvalue)
    chance = np.ones(1)  # of each sum from -size_G.sum() to size_G.sum(), in steps of 1
    for size in size_G:
        other = np.zeros(len(chance) + 2 * size)
        other[: len(chance)] = chance / 2
        other[2 * size :] += chance / 2
        chance = other
    distance = np.abs(np.arange(len(chance)) - size_G.sum())
    return float(min(chance[distance >= abs(sum_G.sum())].sum(), 1))


def padded(of: Spread, num_tracks: int, num_seeds: int = 1) -> Spread:
    """Return the spread of differences with one more track on either side, in one run: two that
    agree on all tracks at hand may differ on others (Bonett and Price 2012)."""
    return Spread(of.mean, of.variance + 2 / num_tracks**2 / num_seeds, of.df)


def compare_architectures(
    value_a_SB: np.ndarray,
    value_b_TB: np.ndarray,
    units_B: np.ndarray,
    pooled: PooledVariance | None,
    level: float = LEVEL,
) -> Comparison | None:
    """Compare two architectures by the values that their seeds reach on the same tracks; None,
    which is no claim, where either has fewer than `MIN_SEEDS` seeds or there is one unit."""
    seeds = len(value_a_SB), len(value_b_TB)
    apart_B = np.mean(value_a_SB, 0) - np.mean(value_b_TB, 0)
    sum_G, size_G = unit_sums(apart_B, units_B)
    if min(seeds) < MIN_SEEDS or pooled is None or len(size_G) == 1:
        return None
    seed_parts = pooled.variance, pooled.total, pooled.degrees_of_freedom
    difference, error, df = two_way_difference(sum_G, size_G, seeds, *seed_parts)
    half = stdtrit(df, (1 + level) / 2) * error
    p_value = 2 * stdtr(df, -abs(difference) / error)
    bounds = float(difference - half), float(difference + half)
    return Comparison(float(difference), *bounds, float(p_value), "t over units and seeds")


def two_way_difference(
    sum_XG: np.ndarray,
    size_G: np.ndarray,
    seeds: tuple[int, int],
    seed_variance_X: np.ndarray | float,
    seed_total_X: np.ndarray | float,
    seed_df: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return difference, standard error and degrees of freedom (Satterthwaite 1946), `[X]` each.

    `sum_XG` are the sums over a unit's tracks of the difference between means of seeds. Its
    variance by units holds how units and seeds act together; what seeds add to it is as uncertain
    as the whole variance between seeds (see `PooledVariance`).
    """
    of = padded(spread(sum_XG, size_G), size_G.sum(), min(seeds))
    per_seed = 1 / seeds[0] + 1 / seeds[1]
    variance_X = of.variance + seed_variance_X * per_seed
    doubt_X = of.variance**2 / of.df + (seed_total_X * per_seed) ** 2 / seed_df
    return of.mean, np.sqrt(variance_X), (variance_X**2 / doubt_X).clip(1)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the p-values adjusted so that all claims of a protocol at a level are right together
    with that confidence (Holm 1979). NaN is no claim: it stays, and does not count."""
    p_M = np.asarray(p_values, np.float64)
    adjusted_M = np.full(p_M.shape, np.nan)
    order = np.argsort(p_M)[: np.isfinite(p_M).sum()]
    steps = p_M[order] * np.arange(len(order), 0, -1)
    adjusted_M[order] = np.maximum.accumulate(steps).clip(None, 1)
    return adjusted_M


def rank_intervals(
    mean_M: np.ndarray, adjusted_MM: np.ndarray, level: float = LEVEL
) -> list[tuple[int, int]]:
    """Return the best and the worst rank that each model may have: one more than the models that
    are surely better, and as many as are not surely worse (Al Mohamad, Goeman and van Zwet 2022,
    "Simultaneous confidence intervals for ranks"). `adjusted_MM` are symmetric p-values, NaN where
    there is no claim."""
    mean_M = np.asarray(mean_M)
    sure_MM = np.asarray(adjusted_MM) < 1 - level
    better_MM = mean_M > mean_M[:, None]
    num_better_M = (sure_MM & better_MM).sum(1)
    num_worse_M = (sure_MM & ~better_MM).sum(1)
    return [
        (int(b) + 1, len(mean_M) - int(w)) for b, w in zip(num_better_M, num_worse_M, strict=True)
    ]


def tied_with_best(mean_M: np.ndarray, adjusted_MM: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return whether each model is not surely worse than the one with the best mean, `[M]`."""
    best = int(np.argmax(mean_M))
    tied_M = ~(np.asarray(adjusted_MM)[best] < 1 - level)
    tied_M[best] = True
    return tied_M
