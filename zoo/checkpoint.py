"""Checkpoints of a run: written whole or not at all."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from zoo.errors import InputError

FOLDER = "checkpoints"


def save(file: Path, state: dict[str, Any]) -> None:
    """Write the state under a temporary name, flush it to the disk, and rename it.

    Raises OSError if that fails (a full disk); the previous checkpoint stays as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    content = io.BytesIO()  # torch writes to a full disk without saying that it is full
    torch.save(state, content)
    try:
        with part.open("wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def load(file: Path) -> dict[str, Any]:
    """Read a checkpoint. Raises `InputError` if it is none."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is not a checkpoint of this version: {reason}") from error
