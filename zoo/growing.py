"""A library's file while tracks are added to it: what has been computed is kept, come what may.

What is new goes into small files in `<file>.parts`, and in the end all of it into the file.
"""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from zoo.embedded import Embedded
from zoo.errors import InputError
from zoo.library import Library, Origin, facts, read_library, to_table, write_library

SAVE_SECONDS = 60  # after which a part is written: what a killed process loses at most


class Growing:
    """Embeddings of one origin, on their way into a file."""

    def __init__(self, file: Path, origin: Origin, libraries: Sequence[Library]) -> None:
        self._file, self._origin = file, origin
        self._libraries = list(libraries)
        self._rows: list[Embedded] = []
        self._saved = time.monotonic()
        self._is_written = len(self._libraries) == 1 and file.exists()

    @classmethod
    def open(cls, file: Path, origin: Origin) -> Self:
        """Go on with what is in the file, and in its parts. Raises `InputError` where that is of
        another origin."""
        files = [*([file] if file.exists() else []), *sorted(_parts(file).glob("*.parquet"))]
        libraries = [read_library(name) for name in files]
        for library in libraries:
            if differs := origin.differs(library.origin):
                raise InputError(
                    f"{library.file} holds embeddings of another kind ({differs}); give another "
                    "--out, or the model that they are of."
                )
        return cls(file, origin, libraries)

    def library(self) -> Library:
        """Return all tracks so far, of each path the latest."""
        self._flush()
        empty = facts([], self._origin.classes, [])
        tracks = pd.concat([empty, *(part.tracks for part in self._libraries)], ignore_index=True)
        none = np.empty((0, self._origin.num_features), np.float32)
        x_BD = np.concatenate([none, *(part.embedding_BD for part in self._libraries)])
        is_latest = ~tracks["path"].duplicated(keep="last").to_numpy(bool)
        return Library(
            tracks[is_latest].reset_index(drop=True), x_BD[is_latest], self._origin, self._file
        )

    def keep(self, library: Library, is_kept: np.ndarray) -> None:
        """Forget all tracks but these."""
        self._is_written &= bool(is_kept.all()) and library.tracks.equals(self.library().tracks)
        tracks = library.tracks[is_kept].reset_index(drop=True)
        self._libraries = [Library(tracks, library.embedding_BD[is_kept], self._origin, self._file)]

    def add(self, row: Embedded) -> None:
        """Take a track, and write a part from time to time."""
        self._rows.append(row)
        self._is_written = False
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._flush(write=True)

    def finish(self) -> None:
        """Write all of it into the file, unless it is there. Raises `InputError` where it cannot be
        written."""
        library = self.library()
        if len(library) and not self._is_written:
            table = to_table(library.tracks, library.embedding_BD, self._origin)
            write_library(self._file, table)
        for part in _parts(self._file).glob("*.parquet"):
            part.unlink()
        if _parts(self._file).is_dir():
            _parts(self._file).rmdir()

    def _flush(self, write: bool = False) -> None:
        if self._rows:
            *columns, prob, embedding = zip(*self._rows, strict=True)
            tracks = facts(list(zip(*columns, strict=True)), self._origin.classes, prob)
            part = Library(tracks, np.stack(embedding), self._origin, self._file)
            self._libraries.append(part)
            if write:
                name = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.parquet"
                table = to_table(part.tracks, part.embedding_BD, self._origin)
                write_library(_parts(self._file) / name, table)
        self._rows, self._saved = [], time.monotonic()


def _parts(file: Path) -> Path:
    return file.with_name(f"{file.name}.parts")
