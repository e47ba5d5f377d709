"""Intervals for metrics that are no mean over tracks: macro F1, average precision, calibration.

Letters: B tracks, G units.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from zoo.statistics import LEVEL, Interval, spread

MIN_UNITS = 30  # with fewer, resamples lack whole classes
Metric = Callable[[np.ndarray], float]
"""What the tracks of these row indices give; an index may be there several times."""


def bootstrap_interval(
    metric: Metric, units_B: np.ndarray, seed: int = 0, num: int = 1000, level: float = LEVEL
) -> Interval:
    """Return the metric's interval for a checkpoint, from resampled units: the metric plus and
    minus t standard errors of `num` bootstrap samples, or under 30 units of the jackknife.

    Percentiles of the bootstrap are no choice: a resample of few artists lacks whole classes, so
    it is biased, and they then miss the true macro F1 far too often (`benchmarks.simulate`).
    ValueError for fewer than two units. The metric is called `num` times or once a unit.
    """
    num_units, estimate = len(np.unique(units_B)), metric(np.arange(len(units_B)))
    if num_units < MIN_UNITS:
        of = spread(pseudo_values(metric, units_B), np.ones(num_units, int))
        error, df, method = float(np.sqrt(of.variance)), float(of.df), "jackknife-t"
    else:
        error = float(np.std(resampled(metric, units_B, seed, num), ddof=1))
        df, method = num_units - 1, "bootstrap-t"
    half = stdtrit(df, (1 + level) / 2) * error
    return Interval(float(estimate - half), float(estimate + half), method, num_units)


def resampled(metric: Metric, units_B: np.ndarray, seed: int = 0, num: int = 1000) -> np.ndarray:
    """Return what the metric gives on samples of as many units, drawn with replacement `[num]`."""
    unit_B = np.unique(units_B, return_inverse=True)[1]
    rows = np.split(np.argsort(unit_B, kind="stable"), np.bincount(unit_B).cumsum()[:-1])
    drawn_NG = np.random.default_rng(seed).integers(len(rows), size=(num, len(rows)))
    return np.array([metric(np.concatenate([rows[g] for g in drawn_G])) for drawn_G in drawn_NG])


def pseudo_values(metric: Metric, units_B: np.ndarray, max_groups: int = 200) -> np.ndarray:
    """Return Tukey's pseudo-value of each unit `[G]`, whose mean stands for the metric.

    With these in place of a value per track, each its own unit, `statistics` and
    `benchmarks.comparing` say as much of a metric that is no mean of tracks. Beyond `max_groups`
    units, groups of units are left out together. ValueError for fewer than two units.
    """
    unit_B = np.unique(units_B, return_inverse=True)[1]
    num_groups = min(unit_B.max() + 1, max_groups)
    if num_groups < 2:
        raise ValueError("one unit says nothing of others: at least two are needed")
    group_B = unit_B % num_groups
    everything = metric(np.arange(len(unit_B)))
    without_G = np.array([metric(np.flatnonzero(group_B != g)) for g in range(num_groups)])
    return num_groups * everything - (num_groups - 1) * without_G
