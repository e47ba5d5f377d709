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

from benchmarks.calibration import Decisions, decisions, fit_temperature, losses, with_temperature
from benchmarks.statistics import Interval, bootstrap_interval, checkpoint_interval, units_of
from zoo.datasets.base import encode_labels
from zoo.metrics import calibration_bins, expected_calibration_error
from zoo.results import SCORES, Result, read_scores

FEW_TRACKS = 500  # with fewer, the error of 15 bins is noise for the most part
COVERAGES = np.arange(1, 11) / 10  # shares of the decisions, the surest first
SIMULATIONS = 1000  # of labels, as an honest network's would be


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
    - ece: leads otherwise. In bins of finitely many tracks even an honest network has an error,
      and a resampled test set has that noise twice; so the bootstrap's interval is reflected at
      the estimate (2 ece - high .. 2 ece - low), which takes the excess off again.
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
    for what, prob_BK in (("before", prob_BK.astype(np.float64)), ("after", after_BK)):
        rows += _rows(what, target, prob_BK, units_of(tracks))
    leading = ("brier", "log_loss") if len(tracks) < FEW_TRACKS else ("ece", "ece_if_honest")
    rows = [row._replace(leads=row.figure in leading) for row in rows]
    return pd.DataFrame(sorted(rows, key=lambda row: not row.leads), columns=list(Row._fields))


def _rows(
    what: str, target: np.ndarray, prob_BK: np.ndarray, units_B: np.ndarray
) -> Iterator[Row]:
    num_tracks, multilabel = len(target), np.ndim(target) == 2
    for name, loss_B in losses(target, prob_BK).items():
        of = checkpoint_interval(loss_B, units_B)
        yield Row(what, name, np.nan, loss_B.mean(), of.low, of.high, num_tracks)
    made = decisions(target, prob_BK)
    claimed = Decisions(prob_BK.ravel(), target.ravel() == 1, made.row_N) if multilabel else made
    yield from _ece(what, claimed, units_B)
    for rows in calibration_bins(claimed.confidence_N):
        if len(rows):
            at = float(claimed.confidence_N[rows].mean())
            yield _share(what, "reliability", at, claimed, rows, units_B)
    surest = np.argsort(-made.confidence_N, kind="stable")
    for coverage in COVERAGES:
        rows = surest[: max(1, round(coverage * len(surest)))]
        yield _share(what, "coverage", float(coverage), made, rows, units_B)


def _share(
    what: str, figure: str, at: float, of: Decisions, rows: np.ndarray, units_B: np.ndarray
) -> Row:
    right_N, tracks = of.correct_N[rows], of.row_N[rows]
    interval = checkpoint_interval(right_N, units_B[tracks])
    num_tracks = len(np.unique(tracks))
    return Row(what, figure, at, right_N.mean(), interval.low, interval.high, num_tracks)


def _ece(what: str, of: Decisions, units_B: np.ndarray) -> Iterator[Row]:
    num_tracks = len(units_B)
    ece = expected_calibration_error(of.correct_N, of.confidence_N)
    resampled = bootstrap_interval(
        lambda rows: expected_calibration_error(of.correct_N[rows], of.confidence_N[rows]),
        units_B[of.row_N],
    )
    low, high = max(0.0, 2 * ece - resampled.high), min(1.0, 2 * ece - resampled.low)
    yield Row(what, "ece", np.nan, ece, low, high, num_tracks)
    honest = if_honest(of.confidence_N)
    yield Row(what, "ece_if_honest", np.nan, *honest, num_tracks)


def if_honest(confidence_N: np.ndarray) -> tuple[float, float, float]:
    """Return the mean calibration error of decisions that are right as often as they say, and the
    range of 95 % of such errors, decisions independent; the same for the same confidences."""
    confidence_N, random = np.sort(confidence_N), np.random.default_rng(0)
    draws = (random.random(len(confidence_N)) < confidence_N for _ in range(SIMULATIONS))
    errors = [expected_calibration_error(right_N, confidence_N) for right_N in draws]
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(np.mean(errors)), float(low), float(high)
