"""Checkpoints of a run: written whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch

from zoo.errors import InputError

FOLDER = "checkpoints"


def save(file: Path, state: dict[str, Any]) -> None:
    """Write the state under a temporary name, flush it to the disk, and rename it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def load(file: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises `InputError` if it is none."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is not a checkpoint of this version: {reason}") from error
