"""How honest probabilities are, and the picture of it.

B tracks, K classes, N decisions: with one label, the class that each track is taken for; with
several, whether each tag fits each track.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.errors import InputError
from zoo.metrics import calibration_bins

SIMULATIONS = 1000  # of what chance does to a calibration error


class Decisions(NamedTuple):
    """Yes or no about tracks, how probable it was said to be right, and whether it was; `[N]`."""

    confidence: np.ndarray
    correct: np.ndarray
    row: np.ndarray  # of the track


def losses(target: np.ndarray, prob_BK: np.ndarray) -> dict[str, np.ndarray]:
    """Return of each track the Brier score and the log loss (nats), `[B]` each.

    With one label, their means are `zoo.metrics`' (Brier 0..2); with several, each is the mean over
    tags (Brier 0..1).
    """
    prob_BK = np.asarray(prob_BK, np.float64)
    if np.ndim(target) == 2:
        given_BK = np.where(target == 1, prob_BK, 1 - prob_BK).clip(np.finfo(float).eps)
        return {"brier": ((prob_BK - target) ** 2).mean(1), "log_loss": -np.log(given_BK).mean(1)}
    rows = np.arange(len(target))
    given_B = prob_BK.clip(np.finfo(float).eps)[rows, target] / prob_BK.sum(1)
    error_BK = prob_BK - np.eye(prob_BK.shape[1])[target]
    return {"brier": (error_BK**2).sum(1), "log_loss": -np.log(given_B)}


def decisions(target: np.ndarray, prob_BK: np.ndarray) -> Decisions:
    """Return the decisions that accuracy is of; tags fit from a probability of one half."""
    num_tracks, num_classes = prob_BK.shape
    if np.ndim(target) == 1:
        correct_B = prob_BK.argmax(1) == target
        return Decisions(prob_BK.max(1), correct_B, np.arange(num_tracks))
    correct_BK = (prob_BK >= 0.5) == (target == 1)
    sure_BK = np.maximum(prob_BK, 1 - prob_BK)
    return Decisions(sure_BK.ravel(), correct_BK.ravel(), np.arange(num_tracks).repeat(num_classes))


class Error(NamedTuple):
    """An expected calibration error and its 95 % interval."""

    value: float
    low: float
    high: float


def calibration_error(of: Decisions, units_B: np.ndarray) -> Error:
    """Return the expected calibration error of `zoo.metrics`, with an interval over the tracks'
    units; from one unit nothing is known.

    In bins of few tracks chance alone makes gaps: the error is too high, that of resampled tracks
    more so, and the percentiles of a bootstrap hold an error of 0 in no case. But it is a norm of
    the bins' gaps, whose noise can be drawn. It is too high by the norm of the noise at most
    (triangle inequality), and too low by the noise along the signs of the gaps (a norm is convex).
    Both bounds are safe rather than narrow: of 400 test sets each of 100, 300 and 1,000 tracks, in
    units of 1, 5 and 15, with errors of 0 to 0.2, 96.75 to 100 % had the truth within them.
    """
    gap_GC, size_G = _gaps(of, units_B)
    num_units, gap_C = len(size_G), gap_GC.sum(0) / len(of.row)
    error = float(np.abs(gap_C).sum())
    if num_units == 1:
        return Error(error, 0.0, 1.0)
    random, df = np.random.default_rng(0), num_units - 1
    scale_X1 = np.sqrt(num_units / random.chisquare(df, (SIMULATIONS, 1)))  # to a t distribution
    draw_XG = random.standard_normal((SIMULATIONS, num_units)) * scale_X1
    noise_XC = draw_XG @ (gap_GC - np.outer(size_G, gap_C)) / len(of.row)
    too_high = np.quantile(np.abs(noise_XC).sum(1), 0.975)
    too_low = np.quantile(noise_XC @ np.sign(gap_C), 0.975)
    return Error(error, max(0.0, error - too_high), min(1.0, error + too_low))


def _gaps(of: Decisions, units_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of right - confidence over each unit's decisions in each bin `[G,C]`, and the
    number of each unit's decisions `[G]`."""
    bins = calibration_bins(of.confidence)
    unit_N = np.unique(units_B, return_inverse=True)[1][of.row]
    gap_GC, gap_N = np.zeros((unit_N.max() + 1, len(bins))), of.correct - of.confidence
    for number, rows in enumerate(bins):
        np.add.at(gap_GC[:, number], unit_N[rows], gap_N[rows])
    return gap_GC, np.bincount(unit_N)


def if_honest(confidence_N: np.ndarray) -> Error:
    """Return the mean calibration error of decisions that are right as often as they say, and the
    range of 95 % of such errors, decisions independent; the same for the same confidences."""
    confidence_N, random = np.sort(confidence_N), np.random.default_rng(0)
    first = [rows[0] for rows in calibration_bins(confidence_N) if len(rows)]
    draws = (random.random(len(confidence_N)) < confidence_N for _ in range(SIMULATIONS))
    gaps = (np.add.reduceat(right_N - confidence_N, first) for right_N in draws)
    errors = [np.abs(gap_C).sum() / len(confidence_N) for gap_C in gaps]
    return Error(float(np.mean(errors)), *np.quantile(errors, [0.025, 0.975]).tolist())


def draw(file: Path, summary: pd.DataFrame, title: str) -> None:
    """Draw the reliability diagram and accuracy against coverage, before and after temperature,
    from the table of `benchmarks.summaries.calibration`. Raises `InputError` for another one."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="gray", linestyle=":", label="honest")
    _lines(left, summary, "reliability")
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that is right")
    left.set(title="bins of equal numbers, 95 % intervals", aspect="equal")
    _lines(right, summary, "coverage")
    right.set(xlim=(0, 1.03), ylim=(0, 1), xlabel="share of decisions taken, the surest first")
    right.set(ylabel="share of them that is right", title="accuracy against coverage")
    left.legend(loc="lower right")
    right.legend(loc="best")
    figure.suptitle(title)
    figure.savefig(file, dpi=120)


def _lines(axes: Axes, summary: pd.DataFrame, figure: str) -> None:
    rows = summary[summary["figure"] == figure]
    if rows.empty:
        raise InputError(f"the summary has no {figure}: give that of calibration.")
    is_curve = figure == "coverage"
    for what, color, side in (("before", "tab:blue", -1), ("after", "tab:orange", 1)):
        part = rows[rows["what"] == what]
        value = part["value"].to_numpy()
        errors = np.abs(part[["low", "high"]].to_numpy().T - value)
        at = part["at"].to_numpy() + 0.004 * side * is_curve  # or intervals would hide each other
        style, label = f".{'-' * is_curve}", f"{what} temperature"
        axes.errorbar(at, value, errors, fmt=style, label=label, color=color, elinewidth=0.6)
