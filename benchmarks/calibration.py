"""Temperature, which makes probabilities honest, and the picture of how honest they are.

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

SMALLEST = 1e-12  # a probability of 0 is taken for so much: its logarithm is finite
HOTTEST = 100.0  # the temperature lies between this and its inverse
HALVINGS = 60  # of the interval of ln T: until it is as narrow as float64 can tell


class Decisions(NamedTuple):
    """Yes or no about tracks, how probable it was said to be right, and whether it was."""

    confidence_N: np.ndarray
    correct_N: np.ndarray
    row_N: np.ndarray  # of the track


def fit_temperature(target: np.ndarray, prob_BK: np.ndarray) -> float:
    """Return the T with the least log loss of `with_temperature(prob, T)` (Guo et al. 2017), within
    1/100..100; the ends where the tracks are all right, or tell nothing.

    `target` is class indices `[B]`, or zeros and ones `[B,K]`: then each tag is a decision of its
    own. The loss is convex in 1/T, and its slope is halved to where it is 0.
    """
    low, high = -np.log(HOTTEST), np.log(HOTTEST)
    is_multilabel = np.ndim(target) == 2
    truth_BK = target if is_multilabel else np.eye(prob_BK.shape[1])[target]
    logit_BK = _logits(prob_BK, is_multilabel)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        calibrated_BK = with_temperature(prob_BK, float(np.exp(middle)), is_multilabel)
        too_sure = (logit_BK * (calibrated_BK - truth_BK)).sum() > 0  # slope of the loss in 1/T
        low, high = (middle, high) if too_sure else (low, middle)
    return float(np.exp((low + high) / 2))


def with_temperature(prob_BK: np.ndarray, temperature: float, multilabel: bool) -> np.ndarray:
    """Return softmax(ln p / T), or for several labels sigmoid(logit p / T), float64.

    Of tracks, whose probabilities are means over chunks: their logits are gone, but what scores
    them is the only probability that anybody sees.
    """
    logit_BK = _logits(prob_BK, multilabel) / temperature
    if multilabel:
        return 1 / (1 + np.exp(-logit_BK))
    odds_BK = np.exp(logit_BK - logit_BK.max(1, keepdims=True))
    return odds_BK / odds_BK.sum(1, keepdims=True)


def _logits(prob_BK: np.ndarray, multilabel: bool) -> np.ndarray:
    prob_BK = np.clip(np.asarray(prob_BK, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(prob_BK) - (np.log1p(-prob_BK) if multilabel else 0)


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
    for axes in (left, right):
        axes.legend(loc="lower right")
    figure.suptitle(title)
    figure.savefig(file, dpi=120)


def _lines(axes: Axes, summary: pd.DataFrame, figure: str) -> None:
    rows = summary[summary["figure"] == figure]
    if rows.empty:
        raise InputError(f"the summary has no {figure}: give that of calibration.")
    styles = (("before", "tab:blue", -1), ("after", "tab:orange", 1))
    for what, color, side in styles:
        part = rows[rows["what"] == what]
        value = part["value"].to_numpy()
        errors = np.abs(part[["low", "high"]].to_numpy().T - value)
        x = part["at"].to_numpy() + (0.004 * side if figure == "coverage" else 0)
        label = f"{what} temperature"
        axes.errorbar(x, value, errors, label=label, color=color, marker=".", lw=1.3, elinewidth=0.6)
