"""What a model makes of the tracks: embeddings for the map, and how sure its answers are."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from zoo.errors import InputError
from zoo.inference import Failed, hear
from zoo.opening import open_runner
from zoo.results import Result, validation_of
from zoo.runners import About

LISTEN = "30s-middle"


@dataclass(frozen=True)
class Answers:
    """What a model says of tracks; a row of NaN for a file that it cannot hear."""

    about: About
    embedding_BD: np.ndarray
    prob_BK: np.ndarray  # calibrated, where the model is

    @property
    def sureness(self) -> np.ndarray:
        """The probability of the most probable class of each track that was heard `[B]`."""
        return self.prob_BK.max(1)[np.isfinite(self.prob_BK[:, 0])]


opened = cache(open_runner)


@cache
def answers(model: str, paths: tuple[str, ...], workers: int | None = None) -> Answers:
    """Hear the tracks with a model, once. Raises `InputError` for what is no model."""
    runner = opened(model)
    about = runner.about
    embedding_BD = np.full((len(paths), about.num_features), np.nan, np.float32)
    prob_BK = np.full((len(paths), len(about.classes)), np.nan)
    for i, heard in enumerate(hear(runner, paths, LISTEN, workers, "hearing")):
        if not isinstance(heard, Failed):
            embedding_BD[i], prob_BK[i] = heard.embedding_D, heard.prob_K
    if not np.isfinite(embedding_BD).any():
        raise InputError(f"{model} can hear none of the tracks.")
    return Answers(about, embedding_BD, prob_BK)


def on_validation(run: Path, result: Result, about: About) -> np.ndarray | None:
    """Return how sure the run's model is of its own validation tracks `[B]`, or None where the run
    does not hold their scores."""
    protocol = result.protocol
    known = validation_of(run, protocol.classes, protocol.multilabel)
    return None if known is None else about.calibrate(known[1]).max(1)
