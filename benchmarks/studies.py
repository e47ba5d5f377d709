"""Studies with a known truth: how often intervals cover it, and how often identical models differ.

Letters: R repeats, M models, P pairs of models, S seeds, G artists, B tracks, K classes.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import binom

from benchmarks.comparing import compare_checkpoints, two_way_difference
from benchmarks.power import POWER, design_of
from benchmarks.simulated import Cell, draw, draw_beta_binomial
from zoo.metrics import single_label
from zoo.resampling import bootstrap_interval, resampled
from zoo.statistics import (
    LEVEL,
    checkpoint_interval,
    cluster_bounds,
    pool_seed_variance,
    seed_parts,
)

ACCURACIES = (0.45, 0.6, 0.8, 0.9, 0.95, 0.98)
CORRELATIONS = (0.0, 0.1, 0.3)
ARTISTS = (9, 20, 30, 100, 300)
DEVIATIONS = (0.0, 0.01, 0.02)
MODELS = 8
PAIRS = list(combinations(range(MODELS), 2))
COVERED, DIFFERENT, TOLD = (93.0, 97.0), (0.0, 5.0), (75.0, 85.0)  # asked for, in percent
NOTHING = (0.0, 100.0)
MANY = 500  # artists, from which `power` plans


class Row(NamedTuple):
    """A measured figure, in percent, beside what is asked for."""

    what: str
    seed_sd: float
    icc: float
    accuracy: float
    artists: int
    percent: float
    error: float  # Monte Carlo's standard error, in percent
    asked: tuple[float, float]

    @property
    def inside(self) -> bool:
        """Whether the goal is met: of rates, unless they are three errors beyond their limit."""
        spare = 3 * self.error if self.asked == DIFFERENT else 0
        return self.asked[0] <= self.percent <= self.asked[1] + spare


def row(what: str, cell: Cell, hit_R: np.ndarray, asked: tuple[float, float]) -> Row:
    """Count; `hit_R` are shares where a repeat holds several models or pairs."""
    error = 100 * np.std(hit_R) / np.sqrt(len(hit_R))
    where = cell.seed_sd, cell.icc, cell.accuracies[0], cell.num_artists
    return Row(what, *where, 100 * float(np.mean(hit_R)), float(error), asked)


def covers(bounds: tuple[np.ndarray, np.ndarray], truth: float) -> np.ndarray:
    """Return whether the truth lies within."""
    return (bounds[0] <= truth) & (truth <= bounds[1])


def wilson() -> Iterator[Row]:
    """Independent tracks: the coverage itself, without simulation."""
    for accuracy, number in product(ACCURACIES, ARTISTS):
        of = [
            checkpoint_interval(np.arange(number) < n, np.arange(number)) for n in range(number + 1)
        ]
        hit = np.array([i.low <= accuracy <= i.high for i in of])
        percent = 100 * float(binom.pmf(np.arange(number + 1), number, accuracy) @ hit)
        yield Row(
            "accuracy of a checkpoint, independent tracks",
            0,
            0,
            accuracy,
            number,
            percent,
            0,
            COVERED,
        )


def checkpoints(rng: np.random.Generator, repeats: int) -> Iterator[Row]:
    """The expected accuracy of one checkpoint over all artists."""
    ways = {"equal": draw, "unequal": draw, "beta-binomial": draw_beta_binomial}
    for way, accuracy, icc, artists in product(ways, ACCURACIES, CORRELATIONS, ARTISTS):
        cell = Cell((accuracy,), icc, artists, "equal" if way == "equal" else "unequal")
        bounds = cluster_bounds(ways[way](rng, cell, repeats)[:, 0, 0], cell.sizes)
        yield row(f"accuracy of a checkpoint, {way}", cell, covers(bounds, accuracy), COVERED)


def architectures(rng: np.random.Generator, repeats: int, num_seeds: int = 3) -> Iterator[Row]:
    """Eight identical architectures: their accuracy over artists and seeds, and their pairs."""
    few = num_seeds > 3
    artists, deviations = ((30,), (0.01,)) if few else (ARTISTS, DEVIATIONS)
    for sd, accuracy, icc, number in product(deviations, ACCURACIES, CORRELATIONS, artists):
        cell = Cell((accuracy,) * MODELS, icc, number, "unequal", num_seeds, sd)
        right_RMSG, name = draw(rng, cell, repeats), f"{num_seeds} seeds"
        variance_R, _, df = pooled = _pooled(right_RMSG, cell)
        extra_R1 = (stdtrit(df, (1 + LEVEL) / 2) ** 2 * variance_R / num_seeds)[:, None]
        bounds = cluster_bounds(right_RMSG.mean(2), cell.sizes, extra_X=extra_R1)
        hit_RM = covers(bounds, accuracy)
        yield row(f"accuracy of an architecture, {name}", cell, hit_RM.mean(1), COVERED)
        p_RP = np.stack([_p_value(right_RMSG, cell, a, b, *pooled) for a, b in PAIRS], axis=1)
        pair_R, any_R = (p_RP < 0.05).mean(1), p_RP.min(1) * len(PAIRS) < 0.05
        yield row(f"two identical architectures, {name}, before Holm", cell, pair_R, DIFFERENT)
        what = f"any two of {MODELS} identical architectures, {name}, Holm"
        yield row(what, cell, any_R, DIFFERENT)


def _pooled(right_RMSG: np.ndarray, cell: Cell) -> tuple[np.ndarray, np.ndarray, int]:
    """Return `PooledVariance` of each repeat."""
    total_R, noise_R = (part_RM.mean(1) for part_RM in seed_parts(right_RMSG, cell.sizes))
    return (total_R - noise_R).clip(0), total_R, right_RMSG.shape[1] * (cell.num_seeds - 1)


def _p_value(right_RMSG: np.ndarray, cell: Cell, a: int, b: int, *pooled: Any) -> np.ndarray:
    """Return `compare_architectures`' of each repeat."""
    apart_RG = right_RMSG[:, a].mean(1) - right_RMSG[:, b].mean(1)
    seeds = cell.num_seeds, cell.num_seeds
    difference_R, error_R, df_R = two_way_difference(apart_RG, cell.sizes, seeds, *pooled)
    return 2 * stdtr(df_R, -abs(difference_R) / error_R)


def pairs_of_checkpoints(rng: np.random.Generator, repeats: int) -> Iterator[Row]:
    """Two identical checkpoints, on the same tracks of artists, or on independent tracks."""
    for accuracy, icc, artists in product((0.45, 0.8, 0.95, 0.98), CORRELATIONS, (9, 30, 100)):
        cell = Cell((accuracy,) * 2, icc, artists)
        unit_B = np.repeat(np.arange(artists), cell.sizes)
        place_B = np.arange(len(unit_B)) - (cell.sizes.cumsum() - cell.sizes)[unit_B]
        ab_R2B = place_B < draw(rng, cell, repeats)[:, :, 0, unit_B]
        of = [compare_checkpoints(a_B, b_B, unit_B) for a_B, b_B in ab_R2B]
        hit_R = np.array([c.p_value < 0.05 for c in of])
        yield row("two identical checkpoints, swapped artists", cell, hit_R, DIFFERENT)
        covered_R = np.array([c.low <= 0 <= c.high for c in of])
        yield row("difference of two checkpoints", cell, covered_R, COVERED)
    for accuracy, tracks in product((0.45, 0.8, 0.95, 0.98), ARTISTS):
        cell = Cell((accuracy,) * 2, 0.0, tracks, "one")
        ab_R2B = draw(rng, cell, repeats)[:, :, 0]
        of = [compare_checkpoints(a_B, b_B, np.arange(tracks)) for a_B, b_B in ab_R2B]
        hit_R = np.array([c.p_value < 0.05 for c in of])
        yield row("two identical checkpoints, exact McNemar", cell, hit_R, DIFFERENT)


def power_kept(rng: np.random.Generator, repeats: int) -> Iterator[Row]:
    """The tracks that `power` asks for give the power that it promises, with three seeds."""
    for difference, sd in product((0.03, 0.05), (0.0, 0.01)):
        accuracies = (round(0.8 + difference, 2), *(0.8,) * (MODELS - 1))
        many = Cell(accuracies, 0.1, MANY, "unequal", 40, sd)
        # the sums of artists are all that `power` reads: spread them evenly over their tracks
        value_MSB = np.repeat(draw(rng, many, 1)[0] / many.sizes, many.sizes, axis=-1)
        units_B = np.repeat(np.arange(MANY), many.sizes)
        pooled = pool_seed_variance(list(value_MSB), units_B)
        design = design_of(value_MSB[0], value_MSB[1], units_B, pooled)
        assert design is not None
        design = replace(design, difference=difference)
        times = design.times(3, LEVEL, POWER)
        if times is None:  # not with three seeds
            continue
        cell = replace(many, num_artists=max(3, round(MANY * times)), num_seeds=3)
        right_RMSG = draw(rng, cell, repeats)
        p_R = _p_value(right_RMSG, cell, 0, 1, *_pooled(right_RMSG, cell))
        yield row(f"power, {100 * difference:.0f} points, promised 80 %", cell, p_R < 0.05, TOLD)


def macro_f1(rng: np.random.Generator, repeats: int) -> Iterator[Row]:
    """The macro F1 of eight classes, an artist of one class each; the truth is that of 10⁵
    artists."""

    def tracks(artists: int) -> tuple[np.ndarray, np.ndarray]:
        chance_G, class_G = rng.beta(7.2, 1.8, artists), rng.integers(8, size=artists)
        target_B = np.repeat(class_G, 10)
        wrong_B = rng.random(10 * artists) > np.repeat(chance_G, 10)
        return target_B, (target_B + wrong_B * rng.integers(1, 4, 10 * artists)) % 8

    def f1(target_B: np.ndarray, predicted_B: np.ndarray, rows: np.ndarray) -> float:
        counts = np.bincount(8 * target_B[rows] + predicted_B[rows], minlength=64).reshape(8, 8)
        present, all_K = counts.diagonal() * 2, counts.sum(0) + counts.sum(1)
        return float((present[all_K > 0] / all_K[all_K > 0]).mean())

    many = tracks(100_000)
    truth = f1(*many, np.arange(1_000_000))
    some = many[0][:100], many[1][:100]
    assert np.isclose(
        f1(*some, np.arange(100)), single_label(some[0], np.eye(8)[some[1]])["macro_f1"]
    )
    for artists in (20, 30, 100, 300):
        cell, hits, percentile_hits = Cell((0.8,), 0.1, artists, "equal"), [], []
        for _ in range(repeats):
            metric, units_B = partial(f1, *tracks(artists)), np.repeat(np.arange(artists), 10)
            of = bootstrap_interval(metric, units_B, num=100)
            hits.append(of.low <= truth <= of.high)
            low, high = np.quantile(resampled(metric, units_B, num=100), (0.025, 0.975))
            percentile_hits.append(low <= truth <= high)
        yield row("macro F1 of a checkpoint, `bootstrap_interval`", cell, np.array(hits), COVERED)
        yield row("macro F1, percentiles (not used)", cell, np.array(percentile_hits), NOTHING)
