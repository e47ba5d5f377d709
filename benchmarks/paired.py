"""How a model does under several conditions, compared track by track. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from benchmarks.comparing import padded
from zoo.datasets.base import encode_labels, units_of
from zoo.errors import InputError
from zoo.metrics import average_precision
from zoo.resampling import pseudo_values
from zoo.results import SCORES, Result, read_scores
from zoo.statistics import LEVEL, checkpoint_interval, spread, unit_sums

TOLERANCE = 0.02  # between probabilities of two devices, in bf16
GROUPS = 50  # of units, whose pseudo-values are computed together


@dataclass(frozen=True)
class Conditions:
    """What each track adds to the metric under each condition, of the tracks that all have.

    `values` are 1 where the most probable class is right; with several labels, where the metric is
    no mean over tracks, pseudo-values of independent groups of tracks, whose mean is the metric.
    """

    metric: str
    num_tracks: int
    values: dict[Any, np.ndarray]  # [B] by condition
    units: np.ndarray  # [B]

    def level(self, condition: object, **named: object) -> dict[str, Any]:
        """Return the metric under a condition, with its interval."""
        value_B = self.values[condition]
        interval = checkpoint_interval(value_B, self.units)
        return self._row(value_B, interval.low, interval.high, named)

    def drop(self, clean: object, conditions: Sequence[object], **named: object) -> dict[str, Any]:
        """Return by how much the metric is lower than under `clean`, in the mean of conditions,
        with the interval of paired differences, which lie in -1 to 1."""
        lost_B = self.values[clean] - np.mean([self.values[c] for c in conditions], axis=0)
        sum_G, size_G = unit_sums(lost_B, self.units)
        mean, half = lost_B.mean(), np.inf
        if len(size_G) > 1:
            of = padded(spread(sum_G, size_G), self.num_tracks)
            half = stdtrit(of.df, (1 + LEVEL) / 2) * np.sqrt(of.variance)
        low, high = np.clip([mean - half, mean + half], -1, 1)
        return self._row(lost_B, low, high, named)

    def _row(
        self, value_B: np.ndarray, low: float, high: float, named: dict[str, object]
    ) -> dict[str, Any]:
        bounds = {"value": float(value_B.mean()), "low": float(low), "high": float(high)}
        return {**named, **bounds, "num_tracks": self.num_tracks}


def read_conditions(
    folder: Path, result: Result, table: pd.DataFrame, column: str, clean: Any
) -> Conditions:
    """Pair the raw scores of a measure, whose conditions are told apart by a column.

    Raises `InputError` where the scores under the condition `clean` are not those of the run's
    test: then the table is of other weights or tracks.
    """
    protocol = result.protocol
    names = [f"p:{name}" for name in protocol.classes]
    scores: dict[Any, pd.DataFrame] = {
        key: part.set_index("track")[names] for key, part in table.groupby(column)
    }
    tracks, tested_BK = read_scores(folder / SCORES["test"], protocol.classes)
    same = clean in scores and set(scores[clean].index) == set(tracks["track"])
    if not same or _apart(scores[clean].loc[tracks["track"]], tested_BK) > TOLERANCE:
        raise InputError(
            f"{folder}: the scores under {column} {clean} are not those of its test; "
            "measure it again."
        )
    tracks = tracks[np.all([tracks["track"].isin(part.index) for part in scores.values()], axis=0)]
    target = encode_labels(tracks["label"], protocol.classes, protocol.multilabel)
    units_B = units_of(tracks).to_numpy(str)
    values = {
        key: _values(target, part.loc[tracks["track"]].to_numpy(), units_B)
        for key, part in scores.items()
    }
    units = np.arange(len(values[clean])) if protocol.multilabel else units_B
    return Conditions(result.primary, len(tracks), values, units)


def _apart(scores: pd.DataFrame, tested_BK: np.ndarray) -> float:
    return float(np.abs(scores.to_numpy() - tested_BK).max())


def _values(target: np.ndarray, probability_BK: np.ndarray, units_B: np.ndarray) -> np.ndarray:
    if target.ndim == 1:
        return (probability_BK.argmax(1) == target).astype(np.float64)

    def metric(rows: np.ndarray) -> float:
        return macro_average_precision(target[rows], probability_BK[rows])

    pseudo = pseudo_values(metric, units_B, GROUPS)
    return pseudo - pseudo.mean() + metric(np.arange(len(target)))


def macro_average_precision(target_BK: np.ndarray, probability_BK: np.ndarray) -> float:
    """Return the mean average precision of the tags that some tracks have and others have not."""
    share_K = target_BK.mean(0)
    counted = np.flatnonzero((share_K > 0) & (share_K < 1))
    values = [average_precision(target_BK[:, k], probability_BK[:, k]) for k in counted]
    return float(np.mean(values))
