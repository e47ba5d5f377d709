"""Files that data sets write below the cache folder."""

import os
from contextlib import suppress
from pathlib import Path

from zoo.errors import InputError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and its folder. Raises `InputError` where it cannot."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        reason = f"{path} cannot be written: {error.strerror}"
        raise InputError(f"{reason}; make room, or give another cache_dir.") from error
