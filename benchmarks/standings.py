"""Who stands where on one protocol: means over seeds with intervals, ties, and ranks as intervals.

Everything is computed from the stored scores. Torch is not imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.comparing import Comparison, compare_architectures, holm, rank_intervals
from benchmarks.statistics import (
    Interval,
    PooledVariance,
    architecture_interval,
    checkpoint_interval,
    pool_seed_variance,
    units_of,
)
from zoo.datasets.base import encode_labels
from zoo.metrics import multi_label
from zoo.results import SCORES, Pooled, Run, read_scores

ALPHA = 0.05  # of the family of all pairs of a protocol, after Holm


@dataclass(frozen=True)
class Entry:
    """One recipe on one protocol: its seeds' figures for each track, and the runs."""

    name: str
    seeds: tuple[Pooled, ...]
    value_SB: np.ndarray  # 1 where a track's genre is right; tags: see `tag_values`
    units_B: np.ndarray

    @property
    def mean(self) -> float:
        """The primary metric's mean over seeds."""
        primary = self.seeds[0].runs[0].result.primary
        return float(np.mean([seed.metrics[primary] for seed in self.seeds]))

    @property
    def runs(self) -> list[Run]:
        return [run for seed in self.seeds for run in seed.runs]


@dataclass(frozen=True)
class Standings:
    """The entries of one protocol, best first, and what can be said of them."""

    entries: tuple[Entry, ...]
    seed_variance: PooledVariance | None
    intervals: tuple[Interval | None, ...]  # None: too few seeds for a claim
    checkpoints: tuple[tuple[Interval, ...], ...]  # of each seed alone
    comparisons: Mapping[tuple[int, int], Comparison]  # of entries i < j with enough seeds
    adjusted: Mapping[tuple[int, int], float]  # their p-values after Holm
    ranks: tuple[tuple[int, int] | None, ...]

    @property
    def tied_with_best(self) -> tuple[int, ...]:
        """The entries that are not shown to be worse than the first, which is among them."""
        pairs = {j: p for (i, j), p in self.adjusted.items() if i == self.best}
        return tuple(sorted({self.best, *(j for j, p in pairs.items() if p > ALPHA)}))

    @property
    def best(self) -> int:
        """The first entry about which there is a claim; where there is none, the first."""
        claimed = [i for i, interval in enumerate(self.intervals) if interval is not None]
        return claimed[0] if claimed else 0


def entries_of(pooled: Sequence[Pooled], names: Mapping[Path, str]) -> list[list[Entry]]:
    """Return the entries of each protocol, best first; `names` are those of the runs' folders."""
    groups: dict[str, dict[str, list[Pooled]]] = {}
    for one in pooled:
        result = one.runs[0].result
        groups.setdefault(one.group, {}).setdefault(result.recipe, []).append(one)
    entries = []
    for recipes in groups.values():
        made = [_entry(seeds, names) for seeds in recipes.values()]
        entries.append(sorted(made, key=lambda entry: (-entry.mean, entry.name)))
    return entries


def _entry(seeds: list[Pooled], names: Mapping[Path, str]) -> Entry:
    seeds = sorted(seeds, key=lambda one: one.runs[0].result.seed)
    parts = [track_values(one) for one in seeds]
    assert all((units == parts[0][1]).all() for _, units in parts)
    first = seeds[0].runs[0]
    name = names.get(first.folder, f"{first.result.model} {first.result.frontend}")
    return Entry(name, tuple(seeds), np.stack([value for value, _ in parts]), parts[0][1])


def track_values(pooled: Pooled) -> tuple[np.ndarray, np.ndarray]:
    """Return a figure for each test track `[B]`, whose mean is the metric, and the tracks' units.

    One label: 1 where the most probable class is right. Several: see `tag_values`.
    """
    protocol = pooled.runs[0].result.protocol
    parts = [read_scores(run.folder / SCORES["test"], protocol.classes) for run in pooled.runs]
    tracks = pd.concat([part for part, _ in parts], ignore_index=True)
    scores = np.concatenate([score for _, score in parts])
    order = np.argsort(tracks["track"].to_numpy(str), kind="stable")
    tracks, scores = tracks.iloc[order].fillna(""), scores[order]
    targets = encode_labels(tracks["label"], protocol.classes, protocol.multilabel)
    units = units_of(tracks)
    if protocol.multilabel:
        return tag_values(targets, scores, units)
    return (scores.argmax(1) == targets).astype(np.float64), units


def tag_values(
    target_BK: np.ndarray, score_BK: np.ndarray, units_B: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the jackknife's pseudo-values of the macro average precision, one for each unit, and
    the units: their mean is its estimate, and they vary as it does (Tukey 1958)."""
    units = np.unique(units_B)
    whole = _macro_average_precision(target_BK, score_BK)
    without = [
        _macro_average_precision(target_BK[m], score_BK[m]) for m in units_B != units[:, None]
    ]
    return len(units) * whole - (len(units) - 1) * np.array(without), units


def _macro_average_precision(target_BK: np.ndarray, score_BK: np.ndarray) -> float:
    return multi_label(target_BK, score_BK)["macro_average_precision"]


def standings(entries: Sequence[Entry]) -> Standings:
    """Return intervals, comparisons of all pairs with three seeds or more, and ranks."""
    units = entries[0].units_B
    pooled = pool_seed_variance([entry.value_SB for entry in entries], units)
    intervals = [architecture_interval(entry.value_SB, units, pooled) for entry in entries]
    claimed = [i for i, interval in enumerate(intervals) if interval is not None]
    comparisons = {
        (i, j): comparison
        for i, j in combinations(claimed, 2)
        if (comparison := compare(entries[i], entries[j], pooled)) is not None
    }
    adjusted = dict(zip(comparisons, holm([c.p_value for c in comparisons.values()]), strict=True))
    place = {i: n for n, i in enumerate(claimed)}
    means = [entries[i].mean for i in claimed]
    found = rank_intervals(means, {(place[i], place[j]): p for (i, j), p in adjusted.items()})
    ranks = [found[place[i]] if i in place else None for i in range(len(entries))]
    checkpoints = tuple(
        tuple(checkpoint_interval(value_B, units) for value_B in entry.value_SB)
        for entry in entries
    )
    return Standings(
        tuple(entries), pooled, tuple(intervals), checkpoints, comparisons, adjusted, tuple(ranks)
    )


def compare(a: Entry, b: Entry, pooled: PooledVariance | None) -> Comparison | None:
    """Compare two architectures of one protocol."""
    return compare_architectures(a.value_SB, b.value_SB, a.units_B, pooled)
