"""Honest probabilities: one temperature, and from which probability on answers are right often.

Both follow from the scores of validation tracks and go with the model. B tracks, K classes, N
decisions. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from zoo.errors import InputError

SMALLEST = 1e-12  # a probability of 0 is taken for so much: its logarithm is finite
HOTTEST = 100.0  # the temperature lies between this and its inverse
HALVINGS = 60  # of the interval of ln T: until it is as narrow as float64 can tell
PRECISIONS = np.arange(50, 101) / 100  # that a threshold is kept for, where one gives it
LEAST_ANSWERS = 10  # of validation: what fewer say of a precision is chance


class Threshold(NamedTuple):
    """From which probability on answers were right in a share of the cases."""

    precision: float  # that was asked for and, on validation tracks, reached
    probability: float  # the least of an answer
    coverage: (
        float  # share of the validation tracks that are answered, or of their tags that are given
    )


@dataclass(frozen=True)
class Calibration:
    """What validation tracks say of a model's probabilities, those of whole tracks."""

    temperature: float
    thresholds: tuple[Threshold, ...]  # by rising precision
    num_tracks: int  # that they follow from

    @classmethod
    def of(cls, target: np.ndarray, prob_BK: np.ndarray) -> Self:
        """Fit to class indices `[B]`, or zeros and ones `[B,K]`, and the tracks' probabilities."""
        multilabel = np.ndim(target) == 2
        temperature = fit_temperature(target, prob_BK)
        calibrated_BK = with_temperature(prob_BK, temperature, multilabel)
        return cls(temperature, thresholds(target, calibrated_BK), len(prob_BK))

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return what `asdict` made of one."""
        kept = tuple(Threshold(*row) for row in content["thresholds"])
        return cls(float(content["temperature"]), kept, int(content["num_tracks"]))

    def asdict(self) -> dict[str, Any]:
        """Return plain values, as JSON has them."""
        return asdict(self) | {"thresholds": [list(row) for row in self.thresholds]}

    def apply(self, prob_BK: np.ndarray, multilabel: bool) -> np.ndarray:
        """Return calibrated probabilities, float64."""
        return with_temperature(prob_BK, self.temperature, multilabel)


def lowest(kept: tuple[Threshold, ...], precision: float) -> Threshold:
    """Return the threshold for a precision. Raises `InputError` where validation gives none."""
    fitting = [t for t in kept if t.precision >= precision - 1e-9]
    if fitting:
        return fitting[0]
    most = f"the highest is {kept[-1].precision:g}" if kept else "nor of any other"
    raise InputError(
        f"--min-precision {precision:g}: no threshold gave that precision on the validation "
        f"tracks (at least {LEAST_ANSWERS} answers); {most}."
    )


def thresholds(target: np.ndarray, prob_BK: np.ndarray) -> tuple[Threshold, ...]:
    """Return the thresholds of answers about tracks.

    With one label an answer is a track's most probable class; with several (`target` zeros and
    ones `[B,K]`), each tag of a track is one.
    """
    if np.ndim(target) == 2:
        right_N = (target == 1).ravel()
        return thresholds_of(prob_BK.ravel(), right_N, int(right_N.sum()))
    return thresholds_of(prob_BK.max(1), prob_BK.argmax(1) == target, None)


def thresholds_of(
    sure_N: np.ndarray, right_N: np.ndarray, num_right: int | None
) -> tuple[Threshold, ...]:
    """Return, for each of `PRECISIONS` that some threshold reaches, the one that answers most.

    Answers are sure of themselves by a probability, and right or not; coverage is the share that
    is given or, with `num_right`, the share of so many right ones.
    """
    order = np.argsort(-sure_N, kind="stable")
    sure_N, hits_N = sure_N[order], right_N[order].cumsum()
    count_N = np.arange(1, len(sure_N) + 1)
    is_place_N = np.append(sure_N[1:] < sure_N[:-1], True)[: len(sure_N)]  # equals go together
    is_place_N &= count_N >= LEAST_ANSWERS
    covered_N = count_N / len(sure_N) if num_right is None else hits_N / max(1, num_right)
    kept = []
    for asked in PRECISIONS.tolist():
        places = np.flatnonzero(is_place_N & (hits_N / count_N >= asked))
        if len(places):
            last = places[-1]
            kept.append(Threshold(asked, float(sure_N[last]), float(covered_N[last])))
    return tuple(kept)


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
        return 0.5 + 0.5 * np.tanh(logit_BK / 2)  # the sigmoid, which does not overflow
    odds_BK = np.exp(logit_BK - logit_BK.max(1, keepdims=True))
    return odds_BK / odds_BK.sum(1, keepdims=True)


def _logits(prob_BK: np.ndarray, multilabel: bool) -> np.ndarray:
    prob_BK = np.clip(np.asarray(prob_BK, np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(prob_BK) - (np.log1p(-prob_BK) if multilabel else 0)
