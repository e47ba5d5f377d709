"""Files of weights: tensors by name, and what published files call those of a model."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import InputError
from zoo.registry import target


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name. Raises `InputError` if it holds anything else."""
    if not file.is_file():
        raise InputError(f"checkpoint={file} does not exist.")
    try:
        with warnings.catch_warnings(action="ignore"):
            is_pickle = file.suffix != ".safetensors"
            content = torch.load(file, "cpu", weights_only=True) if is_pickle else load_file(file)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"checkpoint={file} is no file of tensors alone and is refused, because reading "
            "anything else could run code; save its state dict alone."
        ) from error
    except Exception as error:  # a damaged pickle may raise anything
        reason = re.split(r"[.:]?\s*\n|\. |\.$", str(error))[0] or type(error).__name__
        raise InputError(f"checkpoint={file} cannot be read: {reason}.") from error
    return _state_dict(file, content)


def _state_dict(file: Path, content: Any) -> dict[str, Tensor]:
    """Return the state dict itself, which may lie in another dict and come from DataParallel."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise InputError(f"checkpoint={file} holds no state dict (names and tensors).")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def table_of(name: str) -> Mapping[str, str] | None:
    """Return the table `published` of a registered model's back end."""
    return target("model", name).published


def their_name(ours: str, table: Mapping[str, str]) -> str | None:
    """Return a tensor's published name; None for a front end's own."""
    for theirs, prefix in table.items():
        if ours.startswith(prefix):
            return theirs + ours.removeprefix(prefix)
    return ours.removeprefix("backend.") if ours.startswith("backend.") else None
