"""The songs that a recommendation starts from: tracks of a library, or files that its model hears.

D features. Imports no torch, unless a song is none of the library's.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo.errors import InputError
from zoo.hnsw import unit
from zoo.library import Library, Origin

UNLIKED = 0.5  # the weight of what is unliked; that of what is liked is 1
NO_DIRECTION = 1e-6  # length of what is left of unit vectors that cancel each other


class Song(NamedTuple):
    """What is liked or not."""

    path: str  # absolute
    artist: str  # empty where it is not known
    embedding_D: np.ndarray


def songs(library: Library, names: Sequence[str], model: str | None = None) -> list[Song]:
    """Return what the names stand for: tracks of the library, and files that the model hears.

    `model` is by default that of the library. Raises `InputError` for a name of neither or of
    several tracks, for a file that cannot be heard, and for a model that is not the library's.
    """
    rows = [row_of(library, name) for name in names]
    strange = [_absolute(name) for name, row in zip(names, rows, strict=True) if row is None]
    heard = iter(_hear(library, strange, model) if strange else ())
    return [next(heard) if row is None else _track(library, row) for row in rows]


def row_of(library: Library, name: str) -> int | None:
    """Return the row of the track that has this path, or None for another file.

    What is no file is the end of a path. Raises `InputError` if no path ends so, or several do.
    """
    paths, full = library.tracks["path"], _absolute(name)
    for known in (full, os.path.realpath(full)):
        if len(rows := np.flatnonzero(paths == known)):
            return int(rows[0])
    if os.path.exists(full):  # noqa: PTH110 (never raises)
        return None
    rows = np.flatnonzero(paths.str.endswith(os.sep + os.path.normpath(name)))
    if not len(rows):
        raise InputError(
            f"{name} is neither a file nor a track of {library.file}; give a path, or its end."
        )
    if len(rows) > 1:
        some = " and ".join(paths.iloc[rows[:2]])
        raise InputError(
            f"{name} is the end of {len(rows)} paths in {library.file}, such as {some}; give more "
            "of the one that is meant."
        )
    return int(rows[0])


def _absolute(name: str) -> str:
    return os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 (`..` goes)


def _track(library: Library, row: int) -> Song:
    path, artist = library.tracks[["path", "artist"]].iloc[row]
    return Song(path, artist, library.embedding_BD[row])


def _hear(library: Library, paths: Sequence[str], model: str | None) -> list[Song]:
    from zoo.inference import Failed, hear
    from zoo.listening import LISTEN
    from zoo.opening import open_runner

    origin, where = library.origin, f"{paths[0]} is not in {library.file}"
    name = model or origin.model
    if origin.listen not in LISTEN:
        raise InputError(
            f"{where}, which was made with --listen {origin.listen}: known are {', '.join(LISTEN)}."
        )
    try:
        runner = open_runner(name)
    except InputError as error:
        if model:
            raise
        raise InputError(
            f"{where}, and the model of that cannot be opened: give --model MODEL "
            f"({str(error).rstrip('.')})."
        ) from error
    if differs := origin.differs(Origin.of(runner.about, name, origin.listen)):
        raise InputError(
            f"{where}, and {name} is not the model of that: it has {differs}; give --model MODEL, "
            f"what was {origin.model}, or embed the library anew."
        )
    found = []
    for heard in hear(runner, paths, origin.listen):
        if isinstance(heard, Failed):
            raise InputError(f"{heard.path} {heard.reason}.")
        found.append(Song(heard.path, heard.artist, heard.embedding_D))
    return found


def query(liked: Sequence[Song], unliked: Sequence[Song] = ()) -> np.ndarray:
    """Return the point to search at `[D]`, of length 1: the mean of the liked less half the mean of
    the unliked (Rocchio 1971, "Relevance feedback in information retrieval").

    Raises `InputError` where nothing is left of it.
    """
    x_D = _mean(liked) - (UNLIKED * _mean(unliked) if unliked else 0)
    if np.linalg.norm(x_D) < NO_DIRECTION:
        raise InputError(
            f"{liked[0].path}: the embeddings of the liked songs are zero or cancel each other; "
            "like others."
        )
    return unit(x_D[None])[0]


def _mean(of: Sequence[Song]) -> np.ndarray:
    return unit(np.stack([song.embedding_D for song in of])).mean(0)
