"""Figures of one model under several conditions, paired track by track. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.statistics import bootstrap_interval, checkpoint_interval, units_of
from zoo.datasets.base import encode_labels
from zoo.errors import InputError
from zoo.metrics import average_precision
from zoo.results import SCORES, Result, read_scores

TOLERANCE = 0.02  # between probabilities of two devices, in bf16

Term = tuple[float, np.ndarray]
"""A weight and the probabilities `[B,K]` under a condition."""


@dataclass(frozen=True)
class Conditions:
    """The test tracks that were scored under every condition."""

    target: np.ndarray  # class indices [B], or [B,K] for several labels
    units: np.ndarray  # [B]: what is independent of each other
    scores: dict[Any, np.ndarray]  # probabilities [B,K] by condition
    metric: str

    def figure(self, terms: Sequence[Term], **named: object) -> dict[str, Any]:
        """Return the weighted sum of the metric under conditions, with its interval."""
        value, interval = self._summed(terms)
        bounds = {"value": value, "low": interval.low, "high": interval.high}
        return {**named, **bounds, "num_tracks": len(self.units)}

    def _summed(self, terms: Sequence[Term]) -> tuple[float, Any]:
        if self.target.ndim == 1:
            value_B = sum(w * (p_BK.argmax(1) == self.target) for w, p_BK in terms)
            return float(np.mean(value_B)), checkpoint_interval(np.asarray(value_B), self.units)

        def metric(rows: np.ndarray) -> float:
            target = self.target[rows]
            return sum(w * macro_average_precision(target, p_BK[rows]) for w, p_BK in terms)

        return metric(np.arange(len(self.target))), bootstrap_interval(metric, self.units)


def read_conditions(
    folder: Path, result: Result, table: pd.DataFrame, column: str, clean: Any
) -> Conditions:
    """Pair the raw scores of a measure, whose conditions are told apart by a column.

    Raises `InputError` where the scores under the condition `clean` are not those of the run's
    test: then the table is of other weights or tracks.
    """
    protocol = result.protocol
    names = [f"p:{name}" for name in protocol.classes]
    by_condition: dict[Any, pd.DataFrame] = {
        key: part.set_index("track")[names] for key, part in table.groupby(column)
    }
    tracks, tested_BK = read_scores(folder / SCORES["test"], protocol.classes)
    same = clean in by_condition and set(by_condition[clean].index) == set(tracks["track"])
    if not same or _apart(by_condition[clean].loc[tracks["track"]], tested_BK) > TOLERANCE:
        raise InputError(
            f"{folder}: the scores under {column} {clean} are not those of its test; "
            "measure it again."
        )
    in_all = np.all([tracks["track"].isin(p.index) for p in by_condition.values()], axis=0)
    tracks = tracks[in_all]
    return Conditions(
        encode_labels(tracks["label"], protocol.classes, protocol.multilabel),
        units_of(tracks),
        {key: part.loc[tracks["track"]].to_numpy() for key, part in by_condition.items()},
        result.primary,
    )


def _apart(scores: pd.DataFrame, tested_BK: np.ndarray) -> float:
    return float(np.abs(scores.to_numpy() - tested_BK).max())


def macro_average_precision(target_BK: np.ndarray, probability_BK: np.ndarray) -> float:
    """Return the mean average precision of the tags that some tracks have and others have not."""
    share_K = target_BK.mean(0)
    counted = np.flatnonzero((share_K > 0) & (share_K < 1))
    return float(
        np.mean([average_precision(target_BK[:, k], probability_BK[:, k]) for k in counted])
    )
