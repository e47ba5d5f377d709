"""Tracks on their way into a library: what is heard of each, as a row."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from zoo.answers import Answers, make_answers
from zoo.inference import Failed, Heard, hear
from zoo.runners import Runner


class Embedded(NamedTuple):
    """A track's row: the columns of `zoo.library.FACTS`, and what the model makes of it."""

    path: str  # absolute
    size: int  # bytes
    mtime_ns: int
    seconds: float
    artist: str
    title: str
    genre: str
    prob_K: np.ndarray
    embedding_D: np.ndarray


def embedded(heard: Heard, answers: Answers, artist: str = "", title: str = "") -> Embedded:
    """Return the row of a track."""
    return Embedded(
        heard.path,
        heard.size,
        heard.mtime_ns,
        heard.seconds,
        artist or heard.artist,
        title or heard.title,
        answers.answer(heard.prob_K).genre,
        heard.prob_K,
        heard.embedding_D,
    )


def here(
    runner: Runner, tracks: pd.DataFrame, listen: str, workers: int | None = None
) -> Iterator[Embedded | Failed]:
    """Yield the tracks of `zoo.embed.find_tracks`, embedded by this process; `workers` of its own
    decode, by default one a core."""
    answers = make_answers(runner.about, "", None, None)
    said = zip(tracks["artist"], tracks["title"], strict=True)
    heard = hear(runner, tracks["path"].tolist(), listen, workers, progress="embedding")
    for track, (artist, title) in zip(heard, said, strict=True):
        yield track if isinstance(track, Failed) else embedded(track, answers, artist, title)
