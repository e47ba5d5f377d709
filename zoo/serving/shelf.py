"""The library that a server recommends from: its nearest tracks, and reasons for them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.errors import InputError
from zoo.inference import Heard
from zoo.library import Origin, read_library
from zoo.neighbours import Neighbours
from zoo.recommend import recommend
from zoo.runners import Runner
from zoo.songs import Song, query

SAME = 0.9995  # similarity of one recording to itself, through another codec or rate
SHARED = 0.15  # a probability that is worth a word, where both have it
APART = 0.3  # a difference of probabilities that is


class Found(NamedTuple):
    """A track of the library."""

    rank: int
    similarity: float
    row: int
    path: str
    artist: str
    title: str
    genre: str
    seconds: float
    reasons: list[str]


class Shelf:
    """A library, ready to be searched."""

    def __init__(self, file: Path) -> None:
        """Raises `InputError` for a file that is no library, or an empty one."""
        self._library = read_library(file)
        if not len(self._library):
            raise InputError(f"{file} holds no track; embed some.")
        self._neighbours = Neighbours(self._library.embedding_BD, file)

    def __len__(self) -> int:
        return len(self._library)

    @property
    def origin(self) -> Origin:
        """What the embeddings follow from."""
        return self._library.origin

    def difference(self, runner: Runner) -> str:
        """Return how a model differs from that of the embeddings; empty where it is the same."""
        origin = self.origin
        return origin.differs(Origin.of(runner.about, origin.model, origin.listen))

    def file(self, row: int) -> Path | None:
        """Return the file of a track, or None where there is no such track, or no file any more."""
        if not 0 <= row < len(self):
            return None
        path = Path(self._library.tracks["path"].iloc[row])
        return path if path.is_file() else None

    def search(self, heard: Heard, number: int) -> list[Found]:
        """Return the nearest tracks, at most `number`. Raises `InputError` where all files are
        gone, or the embedding is zero."""
        point_D = query([Song("the song", heard.artist, heard.embedding_D)])
        every_B = np.ones(len(self), bool)
        answers, _ = recommend(self._library, self._neighbours, point_D, number, every_B)
        tracks = answers.assign(row=answers.index).to_dict("records")
        return [self._found({str(name): value for name, value in t.items()}, heard) for t in tracks]

    def _found(self, track: dict[str, Any], heard: Heard) -> Found:
        classes, row = self.origin.classes, self._library.tracks.iloc[track["row"]]
        prob_K = row[[f"p:{name}" for name in classes]].to_numpy(np.float64)
        said = reasons(classes, heard.prob_K, prob_K, track["similarity"])
        if track["artist"] == heard.artist != "":
            said.append(f"by {heard.artist} as well")
        return Found(**track, reasons=said)


def reasons(
    classes: tuple[str, ...], ours_K: np.ndarray, theirs_K: np.ndarray, similarity: float
) -> list[str]:
    """Return in words what calibrated probabilities of two tracks have in common, the most first,
    and in what they differ most."""
    said = ["very likely the same recording"] if similarity >= SAME else []
    both_K = np.minimum(ours_K, theirs_K)
    for k in np.argsort(-both_K, kind="stable")[:2]:
        if both_K[k] >= SHARED:
            said.append(f"both {classes[k]} ({ours_K[k]:.0%} here, {theirs_K[k]:.0%} there)")
    apart_K = np.abs(ours_K - theirs_K)
    k = int(apart_K.argmax())
    if apart_K[k] >= APART:
        said.append(f"but {classes[k]} differs ({ours_K[k]:.0%} here, {theirs_K[k]:.0%} there)")
    return said or ["sounds alike in what no genre names"]
