"""From probabilities to an answer: the genre, several tags, a node of a tree, or "unknown"."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.calibration import Threshold, lowest, thresholds_of
from zoo.errors import InputError
from zoo.results import validation_of
from zoo.runners import About
from zoo.tree import Level, flat

UNKNOWN = "unknown"


class Answer(NamedTuple):
    """What a track is said to be."""

    genre: str  # several tags joined by `|`
    probability: float  # calibrated: of the genre, of the surest tag, of what was not sure enough


@dataclass(frozen=True)
class Answers:
    """How probabilities are turned into answers."""

    about: About
    levels: list[Level]  # from the roots down to the classes
    least: list[Threshold] | None = None  # of each level; None: whatever is most probable

    def answer(self, prob_K: np.ndarray) -> Answer:
        """Return the answer for calibrated probabilities `[K]`."""
        return self._tags(prob_K) if self.about.multilabel else self._genre(prob_K)

    def _genre(self, prob_K: np.ndarray) -> Answer:
        """The most probable root, then the most probable node below it, and so on; as far down as
        is sure enough."""
        path = descend(self.levels, prob_K[None])
        found = Answer(UNKNOWN, float(path[0][1][0]))
        for depth, (level, (node_B, prob_B)) in enumerate(zip(self.levels, path, strict=True)):
            if self.least is None or prob_B[0] >= self.least[depth].probability:
                found = Answer(level.names[node_B[0]], float(prob_B[0]))
        return found

    def _tags(self, prob_K: np.ndarray) -> Answer:
        """The tags that are probable enough, and nodes that are where no tag below them is."""
        names, surest, shown_K = [], float(prob_K.max()), np.zeros(len(prob_K), bool)
        for depth in reversed(range(len(self.levels))):
            level = self.levels[depth]
            prob_M = level.roll_up(prob_K[None], True)[0]
            if self.least is not None:
                is_given_M = prob_M >= self.least[depth].probability
            elif depth == len(self.levels) - 1:
                is_given_M = prob_K >= self.about.tag_thresholds
            else:
                break
            is_given_M &= ~(level.member_KM & shown_K[:, None]).any(0)
            order = np.argsort(-prob_M, kind="stable")
            names += [level.names[node] for node in order if is_given_M[node]]
            shown_K |= (level.member_KM & is_given_M).any(1)
        nothing = "" if self.least is None else UNKNOWN
        return Answer("|".join(names) or nothing, surest)


Steps = list[tuple[np.ndarray, np.ndarray]]
"""Of each level the chosen nodes `[B]`, and their probabilities `[B]`."""


def descend(levels: list[Level], prob_BK: np.ndarray) -> Steps:
    """Go from the most probable root to the most probable node below it, and so on."""
    steps: Steps = []
    above_B = np.zeros(len(prob_BK), int)
    for level in levels:
        prob_BM = level.roll_up(prob_BK, False)
        below_BM = level.parent_M == above_B[:, None]
        above_B = np.where(below_BM, prob_BM, -1.0).argmax(1)
        steps.append((above_B, prob_BM[np.arange(len(prob_BK)), above_B]))
    return steps


def make_answers(
    about: About, model: str, levels: list[Level] | None, min_precision: float | None
) -> Answers:
    """Return how a model answers, with a tree or without.

    Raises `InputError` where its validation tracks do not say from which probability on an answer
    is right in `min_precision` of the cases; with a tree only those of a run can.
    """
    answers = Answers(about, levels or flat(about.classes))
    if min_precision is None:
        return answers
    if levels is None:
        if about.calibrated is None:
            raise InputError(
                f"--min-precision: {model} does not carry the calibration that it needs; give the "
                "folder of the run, with its scores_validation.parquet."
            )
        return replace(answers, least=[lowest(about.calibrated.thresholds, min_precision)])
    scored = validation_of(Path(model).expanduser(), about.classes, about.multilabel)
    if scored is None:
        raise InputError(
            f"--tree with --min-precision needs validation scores, and {model} has none; give the "
            "folder of a run."
        )
    target, prob_BK = scored
    kept = of_levels(answers.levels, target, about.calibrate(prob_BK))
    return replace(answers, least=[lowest(level, min_precision) for level in kept])


def of_levels(
    levels: list[Level], target: np.ndarray, prob_BK: np.ndarray
) -> list[tuple[Threshold, ...]]:
    """Return the thresholds of each level of a tree by calibrated probabilities of tracks."""
    if np.ndim(target) == 2:
        right = [(level.roll_up(target, True) == 1).ravel() for level in levels]
        sure = [level.roll_up(prob_BK, True).ravel() for level in levels]
        return [thresholds_of(s, r, int(r.sum())) for s, r in zip(sure, right, strict=True)]
    steps = zip(levels, descend(levels, prob_BK), strict=True)
    return [
        thresholds_of(prob_B, level.member_KM[target, node_B], None)
        for level, (node_B, prob_B) in steps
    ]
