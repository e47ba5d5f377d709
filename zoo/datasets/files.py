"""Files that data sets write below the cache folder: whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import get_ident

from zoo.errors import InputError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and its folder, in the place of what is there. Raises `InputError` where it
    cannot."""
    _write(path, data, os.replace)


def write_once(path: Path, data: bytes) -> None:
    """Write a file, and its folder, unless another process was faster: who reads its file already
    does not see it change. Raises `InputError` where it cannot."""
    _write(path, data, _place)


def _place(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # fails where there is one, in one step
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        part.replace(path)


def _write(path: Path, data: bytes, place: Callable[[Path, Path], None]) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}-{get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        place(part, path)
    except OSError as error:
        reason = f"{path} cannot be written: {error.strerror}"
        raise InputError(f"{reason}; make room, or give another cache_dir.") from error
    finally:
        with suppress(OSError):
            part.unlink()
