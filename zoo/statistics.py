"""How sure a figure is: intervals over independent units, and over units and seeds.

Two questions, never mixed. *This checkpoint*: other tracks of the same kind might have been in the
test set, so independent units vary. *This architecture*: it might also have been trained with
another seed, so units and seeds vary. The unit is the artist, else the group, else the track.

Letters: B tracks, G units, S seeds, X any leading dimensions (repeats of a simulation).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
MIN_SEEDS = 3  # fewer allow no claim about an architecture
NOTHING = 1e-20  # a variance below this is rounding
PRIOR_ERRORS = 0.15  # what is known before the first error is seen, in errors, ...
PRIOR_EFFECT = 10 / 3  # ... of their design effect; both tuned by `benchmarks.simulate`


@dataclass(frozen=True)
class Interval:
    """Where the truth lies with the asked confidence, how that was computed, and from how many
    independent units."""

    low: float
    high: float
    method: str
    num_units: int


@dataclass(frozen=True)
class PooledVariance:
    """What the seed does to a mean over tracks, pooled over the models of a protocol.

    `variance`, in the square of the values' unit, is that between seeds on endlessly many tracks.
    `total` is what was seen between the means of seeds, which holds the noise of finitely many
    tracks as well; it is what has `degrees_of_freedom`: seeds less one, summed over models.
    """

    variance: float
    total: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class Spread:
    """Means over tracks with the variance, by units, of each, and its degrees of freedom; `[X]`."""

    mean: np.ndarray
    variance: np.ndarray
    df: np.ndarray


def unit_sums(value_XB: np.ndarray, units_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each unit's tracks `[X,G]`, and the number of each unit's tracks `[G]`.

    ValueError when there is no track, when shapes do not match, and for NaN.
    """
    value_XB, units_B = np.asarray(value_XB, np.float64), np.asarray(units_B)
    if units_B.size == 0 or value_XB.shape[-1:] != units_B.shape:
        raise ValueError(f"{value_XB.shape} values do not match {units_B.shape} units of tracks")
    if np.isnan(value_XB).any():
        raise ValueError("values must not be NaN")
    unit_B = np.unique(units_B, return_inverse=True)[1]
    order_B = np.argsort(unit_B, kind="stable")
    size_G = np.bincount(unit_B)
    first_G = np.cumsum(size_G) - size_G
    return np.add.reduceat(value_XB[..., order_B], first_G, axis=-1), size_G


def spread(sum_XG: np.ndarray, size_G: np.ndarray) -> Spread:
    """Return means over tracks and their cluster-robust variance without small-sample bias (CR2).

    Degrees of freedom follow from the sizes of units (Bell and McCaffrey 2002; Pustejovsky and
    Tipton 2018, doi:10.1080/07350015.2016.1247004), or from the kurtosis of what the units
    contribute where that says less: of 300 artists, few may have any error. At least two units.
    """
    num_units, share_G = len(size_G), size_G / size_G.sum()
    assert num_units > 1, "one unit has no spread"
    mean_X = sum_XG.sum(-1) / size_G.sum()
    part_XG = np.square(share_G * (sum_XG / size_G - mean_X[..., None])) / (1 - share_G)
    variance_X = part_XG.sum(-1)
    squares_X = np.square(part_XG).sum(-1)
    known_X = variance_X > NOTHING
    doubt_X = np.where(known_X, squares_X / np.where(known_X, variance_X, 1) ** 2, 1)
    df_X = np.minimum(_df_of_sizes(size_G), 2 / (doubt_X - 1 / num_units).clip(1e-9))
    return Spread(mean_X, np.where(known_X, variance_X, 0), df_X)


def _df_of_sizes(size_G: np.ndarray) -> float:
    """Satterthwaite's degrees of freedom of CR2's variance of a mean, for independent tracks."""
    share_G = size_G / size_G.sum()
    weight_G = share_G**2 / (1 - share_G)
    per_track_G = 1 / share_G - 1  # variance of a residual in units of that of the grand mean
    pairs = weight_G.sum() ** 2 + (weight_G**2 * (per_track_G**2 - 1)).sum()
    return float(1 / pairs)


def score_bounds(
    mean_X: np.ndarray,
    tracks_X: np.ndarray | float,
    quantile_X: np.ndarray | float,
    extra_X: np.ndarray | float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the p with `(mean - p)² = quantile² p (1 - p) / tracks + extra`, cut to 0..1.

    Wilson's interval (1927) where `tracks` are independent and nothing else varies (`extra` 0).
    """
    ratio_X = quantile_X**2 / tracks_X
    square_X = ratio_X * (mean_X * (1 - mean_X) + ratio_X / 4) + extra_X * (1 + ratio_X)
    half_X = np.sqrt(square_X)
    low_X, high_X = (mean_X + ratio_X / 2 + sign * half_X for sign in (-1, 1))
    return (low_X / (1 + ratio_X)).clip(0), (high_X / (1 + ratio_X)).clip(None, 1)


def cluster_bounds(
    sum_XG: np.ndarray, size_G: np.ndarray, level: float = LEVEL, extra_X: np.ndarray | float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals for means of values in 0..1, from the sums of units: Wilson's form with t
    and as many tracks as would be as sure if they were independent, the number of tracks over the
    design effect (Korn and Graubard 1998; Franco et al. 2019, doi:10.1093/jssam/smy019).

    A design effect seen in a handful of errors is drawn towards `PRIOR_EFFECT`. `extra` is the
    squared half-width of what varies beside units.
    """
    of, num_tracks = spread(sum_XG, size_G), size_G.sum()
    binomial_X = of.mean * (1 - of.mean) + PRIOR_ERRORS / num_tracks
    tracks_X = binomial_X / (of.variance + PRIOR_ERRORS * PRIOR_EFFECT / num_tracks**2)
    return score_bounds(of.mean, tracks_X, stdtrit(of.df, (1 + level) / 2), extra_X)


def checkpoint_interval(value_B: np.ndarray, units_B: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the interval for the mean of a value per track (1 where right: the accuracy) over all
    tracks of such units, for this checkpoint alone.

    0/1 values of independent tracks: Wilson. Values in 0..1: cluster-t in Wilson's form, which
    stays honest near 0 and 1. Other values: the plain cluster-t.
    """
    sum_G, size_G = unit_sums(value_B, units_B)
    if size_G.max() == 1 and np.isin(sum_G, (0, 1)).all():
        bounds = score_bounds(sum_G.mean(), len(sum_G), ndtri((1 + level) / 2))
        return Interval(float(bounds[0]), float(bounds[1]), "Wilson", len(sum_G))
    return _cluster_interval(np.asarray(value_B), sum_G, size_G, level)


def architecture_interval(
    value_SB: np.ndarray,
    units_B: np.ndarray,
    seed_variance: PooledVariance | None,
    level: float = LEVEL,
) -> Interval | None:
    """Return the interval for the mean of a value per track over all tracks of such units and over
    all seeds; None, which is no claim, for fewer than `MIN_SEEDS` seeds.

    The variance of the mean of seeds by units holds that of units and of how units and seeds act
    together; what seeds add to that is the pooled variance, which is without the latter. Squared
    half-widths add up, each with its own t (MOVER: Zou and Donner 2008, doi:10.1002/sim.3095).
    """
    if len(value_SB) < MIN_SEEDS or seed_variance is None:
        return None
    sum_SG, size_G = unit_sums(value_SB, units_B)
    quantile = stdtrit(seed_variance.degrees_of_freedom, (1 + level) / 2)
    extra = float(quantile**2 * seed_variance.variance / len(value_SB))
    return _cluster_interval(np.asarray(value_SB), sum_SG.mean(0), size_G, level, extra)


def _cluster_interval(
    values: np.ndarray, sum_G: np.ndarray, size_G: np.ndarray, level: float, extra: float = 0
) -> Interval:
    """Return the interval for the mean from the sums of units; the range of `values` picks its
    form."""
    bounded = values.min() >= 0 and values.max() <= 1
    over = " over units and seeds" if values.ndim == 2 else ""
    if len(sum_G) == 1:
        widest = (0.0, 1.0) if bounded else (-np.inf, np.inf)
        return Interval(*widest, "one unit: nothing is known", 1)
    if bounded:
        low, high = cluster_bounds(sum_G, size_G, level, extra)
        return Interval(float(low), float(high), f"cluster-t in Wilson's form{over}", len(sum_G))
    of = spread(sum_G, size_G)
    half = np.sqrt(stdtrit(of.df, (1 + level) / 2) ** 2 * of.variance + extra)
    bounds = float(of.mean - half), float(of.mean + half)
    return Interval(*bounds, f"cluster-t{over}", len(sum_G))


def seed_parts(sum_XSG: np.ndarray, size_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance between the means of seeds `[X]`, and how much of it is owed to the units
    at hand rather than to seeds `[X]`: the interaction of a two-way analysis of variance."""
    num_seeds = sum_XSG.shape[-2]
    total_X = (sum_XSG.sum(-1) / size_G.sum()).var(-1, ddof=1)
    apart_XSG = sum_XSG - sum_XSG.mean(-2, keepdims=True)
    return total_X, spread(apart_XSG, size_G).variance.sum(-1) / (num_seeds - 1)


def pool_seed_variance(values: Sequence[np.ndarray], units_B: np.ndarray) -> PooledVariance | None:
    """Return what seeds do, pooled over the models of a protocol, each `[S,B]` on the same tracks.

    Models with one seed say nothing; None where none has two, or there is one unit.
    """
    several = [value_SB for value_SB in values if len(value_SB) > 1]
    if not several or len(np.unique(units_B)) < 2:
        return None
    total_M, noise_M = np.transpose([seed_parts(*unit_sums(v, units_B)) for v in several])
    df_M = np.array([len(value_SB) - 1 for value_SB in several])
    total, noise = (float(np.average(part_M, weights=df_M)) for part_M in (total_M, noise_M))
    return PooledVariance(max(total - noise, 0), total, int(df_M.sum()))
