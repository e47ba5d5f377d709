"""Files that `--out` names: of a known kind, and whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

from zoo.errors import InputError
from zoo.shards import complete


def check_out(file: Path | None, suffixes: Iterable[str]) -> None:
    """Raise `InputError` for a file of no known kind."""
    if file is not None and file.suffix not in (known := list(suffixes)):
        raise InputError(f"--out {file} must end in {' or '.join(known)}.")


def write_out(file: Path, content: bytes) -> None:
    """Write a file, and its folder. Raises `InputError` where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with complete(file) as stream:
            stream.write(content)
    except OSError as error:
        raise InputError(f"--out {file} cannot be written: {error.strerror or error}.") from error
