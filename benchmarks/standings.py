"""Who stands where on one protocol: means over seeds with intervals, ties, and ranks as intervals.

Everything is computed from the stored scores. Torch is not imported.

Letters: B tracks, S seeds, M entries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.comparing import (
    Comparison,
    compare_architectures,
    holm,
    rank_intervals,
    tied_with_best,
)
from zoo.datasets.base import encode_labels, units_of
from zoo.metrics import PRIMARY, evaluate
from zoo.pooling import Pooled, Run
from zoo.resampling import pseudo_values
from zoo.results import SCORES, read_scores
from zoo.statistics import (
    Interval,
    PooledVariance,
    architecture_interval,
    checkpoint_interval,
    pool_seed_variance,
)


@dataclass(frozen=True)
class Entry:
    """One recipe on one protocol: a figure of each seed for each track, and the runs."""

    name: str
    seeds: tuple[Pooled, ...]
    values: np.ndarray  # [S,B], see `track_values`
    units: np.ndarray  # [B]

    @property
    def metric(self) -> str:
        """The metric that ranks."""
        return self.runs[0].result.primary

    @property
    def scores(self) -> np.ndarray:
        """The metric of each seed."""
        return np.array([seed.metrics[self.metric] for seed in self.seeds])

    @property
    def mean(self) -> float:
        """Its mean over seeds."""
        return float(self.scores.mean())

    @property
    def runs(self) -> list[Run]:
        """The runs of all seeds and folds."""
        return [run for seed in self.seeds for run in seed.runs]


@dataclass(frozen=True)
class Standings:
    """The entries of one protocol, best first, and what can be said of them.

    Entries with too few seeds have no interval, no rank, and take part in no comparison.
    """

    entries: tuple[Entry, ...]
    seed_variance: PooledVariance | None
    intervals: tuple[Interval | None, ...]
    checkpoints: tuple[tuple[Interval, ...], ...]  # of each seed alone, over tracks alone
    comparisons: Mapping[tuple[int, int], Comparison]  # of entries i < j
    p_values: np.ndarray  # [M,M], after Holm, symmetric; NaN: no claim
    ranks: tuple[tuple[int, int] | None, ...]
    tied: tuple[int, ...]  # the best and those not shown to be worse, best first; may be none


def entries_of(pooled: Sequence[Pooled], names: Mapping[Path, str]) -> list[list[Entry]]:
    """Return the entries of each protocol, best first; `names` are those of the runs' folders."""
    protocols: dict[str, dict[str, list[Pooled]]] = {}
    for one in pooled:
        recipes = protocols.setdefault(one.group, {})
        recipes.setdefault(one.runs[0].result.recipe, []).append(one)
    entries = [
        [_entry(seeds, names) for seeds in recipes.values()] for recipes in protocols.values()
    ]
    return [sorted(made, key=lambda entry: (-entry.mean, entry.name)) for made in entries]


def _entry(seeds: list[Pooled], names: Mapping[Path, str]) -> Entry:
    seeds = sorted(seeds, key=lambda one: one.runs[0].result.seed)
    values, units = zip(*map(track_values, seeds), strict=True)
    assert all((other == units[0]).all() for other in units)
    first = seeds[0].runs[0]
    name = names.get(first.folder, f"{first.result.model} {first.result.frontend}")
    return Entry(name, tuple(seeds), np.stack(values), units[0])


def track_values(pooled: Pooled) -> tuple[np.ndarray, np.ndarray]:
    """Return a figure for each test track `[B]`, whose mean is the metric, and the tracks' units.

    With one label a track: 1 where the most probable class is right. With several, where the metric
    is no mean over tracks: the jackknife's pseudo-values, one for each unit, in place of tracks.
    """
    protocol = pooled.runs[0].result.protocol
    parts = [read_scores(run.folder / SCORES["test"], protocol.classes) for run in pooled.runs]
    tracks = pd.concat([part for part, _ in parts], ignore_index=True).fillna("")
    order = np.argsort(tracks["track"].to_numpy(str), kind="stable")
    tracks = tracks.iloc[order].reset_index(drop=True)
    score_BK = np.concatenate([scores for _, scores in parts])[order]
    target = encode_labels(tracks["label"], protocol.classes, protocol.multilabel)
    units_B = units_of(tracks).to_numpy(str)
    if not protocol.multilabel:
        return (score_BK.argmax(1) == target).astype(np.float64), units_B
    primary = PRIMARY[True]
    values = pseudo_values(
        lambda rows: evaluate(target[rows], score_BK[rows], True)[primary], units_B
    )
    return values, np.arange(len(values))


def standings(entries: Sequence[Entry]) -> Standings:
    """Return intervals, comparisons of all pairs, and ranks of the entries of one protocol."""
    units_B, num = entries[0].units, len(entries)
    seed_variance = pool_seed_variance([entry.values for entry in entries], units_B)
    comparisons = {
        (i, j): comparison
        for i, j in combinations(range(num), 2)
        if (comparison := _compare(entries[i], entries[j], seed_variance)) is not None
    }
    adjusted_MM = np.full((num, num), np.nan)
    adjusted = holm([comparison.p_value for comparison in comparisons.values()])
    for (i, j), p_value in zip(comparisons, adjusted, strict=True):
        adjusted_MM[i, j] = adjusted_MM[j, i] = p_value
    intervals = [architecture_interval(e.values, units_B, seed_variance) for e in entries]
    claimed = [i for i, interval in enumerate(intervals) if interval is not None]
    ranks, tied = _ranked(entries, claimed, adjusted_MM)
    checkpoints = [[checkpoint_interval(v, units_B) for v in e.values] for e in entries]
    return Standings(
        entries=tuple(entries),
        seed_variance=seed_variance,
        intervals=tuple(intervals),
        checkpoints=tuple(map(tuple, checkpoints)),
        comparisons=comparisons,
        p_values=adjusted_MM,
        ranks=tuple(ranks.get(i) for i in range(num)),
        tied=tied,
    )


def _ranked(
    entries: Sequence[Entry], claimed: Sequence[int], adjusted_MM: np.ndarray
) -> tuple[dict[int, tuple[int, int]], tuple[int, ...]]:
    """Return the rank intervals of the entries about which there are claims, and who is tied."""
    if not claimed:
        return {}, ()
    mean_M = np.array([entries[i].mean for i in claimed])
    adjusted_MM = adjusted_MM[np.ix_(claimed, claimed)]
    ranks = dict(zip(claimed, rank_intervals(mean_M, adjusted_MM), strict=True))
    return ranks, tuple(np.array(claimed)[tied_with_best(mean_M, adjusted_MM)].tolist())


def _compare(a: Entry, b: Entry, seed_variance: PooledVariance | None) -> Comparison | None:
    return compare_architectures(a.values, b.values, a.units, seed_variance)
