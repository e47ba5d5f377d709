"""How many tracks and seeds would tell two architectures apart.

Letters: B tracks, G units, S and T seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc, stdtrit

from zoo.statistics import LEVEL, MIN_SEEDS, PooledVariance, seed_parts, spread, unit_sums

POWER = 0.8
SEEDS = (3, 5, 10, 20)
MOST_TIMES = 1e6  # as many tracks as here, and as many seeds: more are endlessly many


@dataclass(frozen=True)
class Design:
    """A difference, and what blurs it on the tracks at hand: variances of the difference by units
    (which seeds do not change), by units and a seed of each together, and by a seed of each."""

    difference: float
    units: float
    together: float
    seeds: float
    df_units: float
    df_seed: float  # of the pooled variance between seeds, for one seed more than one

    def margin(self, times: float, num_seeds: float, level: float, power: float) -> float:
        """Return by how much the difference exceeds what `times` the units and so many seeds (at
        least two) of each tell with that power."""
        noise = self.together / times
        df_seeds = self.df_seed * (num_seeds - 1)
        by_units = self.units / times + noise / num_seeds
        by_seeds = _clipped(self.seeds + noise, noise, df_seeds) / num_seeds
        total = (self.seeds + noise) / num_seeds
        doubt = by_units**2 / (self.df_units * times) + total**2 / df_seeds
        df = max((by_units + by_seeds) ** 2 / doubt, 1) if doubt else np.inf
        quantiles = stdtrit(df, (1 + level) / 2) + stdtrit(df, power)
        return float(abs(self.difference) - quantiles * np.sqrt(by_units + by_seeds))

    def times(self, num_seeds: float, level: float, power: float) -> float | None:
        """Return how many times the units it takes with so many seeds; None: more never do."""

        def margin(log: float) -> float:
            return self.margin(np.exp(log), num_seeds, level, power)

        least, most = np.log(2 / self.df_units), np.log(MOST_TIMES)  # from two units or so
        if margin(most) < 0:
            return None
        return float(np.exp(least if margin(least) >= 0 else brentq(margin, least, most)))

    def num_seeds(self, level: float, power: float) -> int | None:
        """Return how many seeds of each it takes on the tracks at hand; None: more never do."""
        if self.margin(1, MOST_TIMES, level, power) < 0:
            return None
        low, high = MIN_SEEDS - 1, int(MOST_TIMES)
        while high - low > 1:
            middle = (low + high) // 2
            enough = self.margin(1, middle, level, power) >= 0
            low, high = (low, middle) if enough else (middle, high)
        return high


def _clipped(total: float, noise: float, df: float) -> float:
    """Return what `PooledVariance.variance` is on average: a total with chi-squared error, less its
    noise, but not below 0."""
    limit = df * noise / total if total else 0.0
    return float(total * chdtrc(df + 2, limit) - noise * chdtrc(df, limit))


@dataclass(frozen=True)
class PowerNeeded:
    """What it takes to tell a from b if the difference seen is the true one. None: never.

    `tracks` are of as many a unit as here, with the `num_seeds` that were run; `seeds` are of each
    on the `num_tracks` at hand; `tracks_by_seeds` is both at once.
    """

    difference: float
    num_tracks: int
    num_seeds: int
    tracks: int | None
    seeds: int | None
    tracks_by_seeds: dict[int, int | None]

    def __str__(self) -> str:
        tracks = f"{self.tracks:,}" if self.tracks else "no number of"
        seeds = f"{self.seeds:,}" if self.seeds else "no number of"
        both = [f"{t:,} with {s} seeds" for s, t in self.tracks_by_seeds.items() if t]
        return (
            f"If {100 * self.difference:+.2f} points is the true difference: "
            f"with {self.num_seeds} seeds of each, {tracks} tracks would do; "
            f"on these {self.num_tracks:,} tracks, {seeds} seeds of each would do; "
            f"both together, tracks: {', '.join(both) or 'none of what was tried'}."
        )


def power(
    value_a_SB: np.ndarray,
    value_b_TB: np.ndarray,
    units_B: np.ndarray,
    pooled: PooledVariance | None,
    level: float = LEVEL,
    power: float = POWER,
    seeds: Sequence[int] = SEEDS,
) -> PowerNeeded | None:
    """Return how many tracks and seeds would call a and b different with probability `power`.

    None where a single seed of either, or a single unit, says nothing of what varies.
    """
    design = design_of(value_a_SB, value_b_TB, units_B, pooled)
    if design is None:
        return None
    num_tracks, num_seeds = len(units_B), min(len(value_a_SB), len(value_b_TB))

    def tracks(number: int) -> int | None:
        times = design.times(number, level, power)
        return None if times is None else int(np.ceil(times * num_tracks))

    return PowerNeeded(
        design.difference,
        num_tracks,
        num_seeds,
        tracks(num_seeds),
        design.num_seeds(level, power),
        {number: tracks(number) for number in seeds},
    )


def design_of(
    value_a_SB: np.ndarray,
    value_b_TB: np.ndarray,
    units_B: np.ndarray,
    pooled: PooledVariance | None,
) -> Design | None:
    """Return the difference between two architectures, and what blurs it; None where a single seed
    of either, or a single unit, leaves that unknown."""
    if pooled is None or min(len(value_a_SB), len(value_b_TB)) < 2:
        return None
    (sum_a_SG, size_G), (sum_b_TG, _) = (unit_sums(v, units_B) for v in (value_a_SB, value_b_TB))
    of = spread(sum_a_SG.mean(0) - sum_b_TG.mean(0), size_G)
    noise_a, noise_b = (float(seed_parts(sums, size_G)[1]) for sums in (sum_a_SG, sum_b_TG))
    by_units = float(of.variance) - noise_a / len(sum_a_SG) - noise_b / len(sum_b_TG)
    return Design(
        difference=float(of.mean),
        units=max(by_units, 0.0),
        together=noise_a + noise_b,
        seeds=2 * pooled.variance,
        df_units=float(of.df),
        df_seed=pooled.degrees_of_freedom / (min(len(sum_a_SG), len(sum_b_TG)) - 1),
    )
