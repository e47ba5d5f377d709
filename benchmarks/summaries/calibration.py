"""`calibration`: are a run's probabilities honest, before and after temperature, and how much is
right of what it is sure of? From the stored scores of validation and test tracks alone.

The temperature is of the validation tracks, by which the run's best epoch was chosen, too: what it
gives is measured on the test tracks only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.calibration import (
    Decisions,
    calibration_error,
    decisions,
    if_honest,
    losses,
)
from zoo.calibration import fit_temperature, with_temperature
from zoo.datasets.base import encode_labels, units_of
from zoo.metrics import calibration_bins
from zoo.results import SCORES, Result, read_scores
from zoo.statistics import checkpoint_interval

FEW_TRACKS = 500  # with fewer, the error of 15 bins is noise for the most part
COVERAGES = np.arange(1, 11) / 10  # shares of the decisions, the surest first


class Row(NamedTuple):
    """A figure. `at` is the mean confidence of a bin, or the coverage."""

    what: str
    figure: str
    at: float
    value: float
    low: float
    high: float
    num_tracks: int
    leads: bool = False


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return the figures, leading ones first: columns what (before or after temperature), figure,
    at, value, low, high, num_tracks and leads.

    - brier, log_loss: means over the test tracks; they lead where these are fewer than 500.
    - ece: leads otherwise; see `benchmarks.calibration.calibration_error`.
    - ece_if_honest: what an honest network with these confidences would show, from simulated
      labels (Bröcker and Smith 2007), and the range of 95 % of them; an ece within it is no sign
      that the network is not honest.
    - reliability: a row for each of the bins, and the share that is right there.
    - coverage: the share that is right among the surest 10 %, 20 %, ... 100 % of decisions.
    - temperature: above 1 where the network is too sure. It has no interval.

    With several labels, decisions and ece are over all pairs of track and tag, and the ece compares
    the tags' probabilities with their frequencies.
    """
    classes, multilabel = result.protocol.classes, result.protocol.multilabel
    parts = {}
    for split, name in SCORES.items():
        tracks, prob_BK = read_scores(folder / name, classes)
        parts[split] = tracks, encode_labels(tracks["label"], classes, multilabel), prob_BK
    _, target, prob_BK = parts["validation"]
    temperature = fit_temperature(target, prob_BK)
    num_validation = len(target)
    tracks, target, prob_BK = parts["test"]
    after_BK = with_temperature(prob_BK, temperature, multilabel)
    rows = [Row("after", "temperature", np.nan, temperature, np.nan, np.nan, num_validation)]
    for what, test_BK in (("before", prob_BK.astype(np.float64)), ("after", after_BK)):
        rows += _rows(what, target, test_BK, units_of(tracks).to_numpy())
    leading = ("brier", "log_loss") if len(tracks) < FEW_TRACKS else ("ece", "ece_if_honest")
    rows = [row._replace(leads=row.figure in leading) for row in rows]
    return pd.DataFrame(rows).sort_values(
        "leads", ascending=False, kind="stable", ignore_index=True
    )


def _rows(what: str, target: np.ndarray, prob_BK: np.ndarray, units_B: np.ndarray) -> Iterator[Row]:
    num_tracks, multilabel = len(target), np.ndim(target) == 2
    for name, loss_B in losses(target, prob_BK).items():
        of = checkpoint_interval(loss_B, units_B)
        yield Row(what, name, np.nan, loss_B.mean(), of.low, of.high, num_tracks)
    made = decisions(target, prob_BK)
    claimed = Decisions(prob_BK.ravel(), target.ravel() == 1, made.row) if multilabel else made
    yield Row(what, "ece", np.nan, *calibration_error(claimed, units_B), num_tracks)
    yield Row(what, "ece_if_honest", np.nan, *if_honest(claimed.confidence), num_tracks)
    for rows in calibration_bins(claimed.confidence):
        if len(rows):
            at = float(claimed.confidence[rows].mean())
            yield _share(what, "reliability", at, claimed, rows, units_B)
    surest = np.argsort(-made.confidence, kind="stable")
    for coverage in COVERAGES:
        rows = surest[: max(1, round(coverage * len(surest)))]
        yield _share(what, "coverage", float(coverage), made, rows, units_B)


def _share(
    what: str, figure: str, at: float, of: Decisions, rows: np.ndarray, units_B: np.ndarray
) -> Row:
    right_N, tracks = of.correct[rows], of.row[rows]
    interval = checkpoint_interval(right_N, units_B[tracks])
    num_tracks = len(np.unique(tracks))
    return Row(what, figure, at, right_N.mean(), interval.low, interval.high, num_tracks)
