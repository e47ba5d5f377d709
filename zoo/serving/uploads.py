"""What is uploaded to the page: kept for its player, and gone after a while.

Gradio's own routes would do, but that they take any number of files, lose track of some, and serve
and fetch what they are told. Their places are taken here, with the same answers.
"""

import asyncio
import shutil
import time
import uuid
from pathlib import Path, PurePath
from typing import BinaryIO

from zoo.serving.limits import MEGABYTE, Limits, Refused

KEPT_SECONDS = 900
EACH = 60  # seconds, what is old is removed
MOST = 10_000  # files
LONGEST = 100  # letters of a name


class Uploads:
    """A folder of uploads, each in a folder of its own."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self._most = folder, limits.kept_megabytes * MEGABYTE
        self._num_files, self._num_bytes = 0, 0
        folder.mkdir()

    async def add(self, file: BinaryIO, name: str, num_bytes: int) -> Path:
        """Keep a file. Raises `Refused` where there is no room."""
        if self._num_files >= MOST or self._num_bytes + num_bytes > self._most:
            raise Refused(503, "The server keeps as many songs as it can; try again later.")
        self._num_files += 1
        self._num_bytes += num_bytes
        path = self.folder / uuid.uuid4().hex / tidy(name)
        await asyncio.to_thread(_write, file, path)
        return path

    def find(self, path: object) -> Path | None:
        """Return an upload by its path, or None where that is not one, or not any more."""
        if not isinstance(path, str) or "\0" in path:
            return None
        parts = PurePath(path).parts
        found = self.folder.joinpath(*parts[-2:])
        is_ours = str(found) == path and ".." not in parts
        return found if is_ours and found.is_file() else None

    async def sweep(self) -> None:
        """Remove for ever what is old."""
        while True:
            await asyncio.sleep(EACH)
            await asyncio.to_thread(self.remove_old, time.time() - KEPT_SECONDS)

    def remove_old(self, before: float) -> None:
        """Remove what was uploaded before a time, and count what is left."""
        sizes = []
        for folder in self.folder.iterdir():
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                sizes += [file.stat().st_size for file in folder.iterdir()]
        self._num_files, self._num_bytes = len(sizes), sum(sizes)


def tidy(name: str) -> str:
    """Return the name of a file as letters that any file system and header takes."""
    kept = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in PurePath(name).name)
    return kept.strip(" .")[-LONGEST:] or "song"


def _write(file: BinaryIO, path: Path) -> None:
    path.parent.mkdir()
    with path.open("xb") as target:
        shutil.copyfileobj(file, target, 2**20)
