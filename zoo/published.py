"""Weights in the tensor names of the implementation published with Won et al. 2020.

A file is `.safetensors`, or the `.pth` of the authors. Each back end says in `published` how its
tensors are called there; class names are facts of `zoo/tags.py`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.backends.base import check_finite
from zoo.config import compose
from zoo.errors import InputError
from zoo.model import GenreModel, config_from
from zoo.registry import choices
from zoo.tags import TAGS
from zoo.weights import read_tensors, table_of, their_name

NAMING = 3  # last parts of a path that may name the data set: models/fcn/mtat/best_model.pth
FRONT_ENDS = ("spec.", "hstft.")  # of these names only what is learned is of use
SAME_NUMBERS = ("engine", "trainable")  # keys of a front end that leave its output as it is


def load_published(name: str, file: Path, frontend: str, overrides: Iterable[str]) -> GenreModel:
    """Return the model `name` with the weights of a file, to evaluate with.

    Settings are the published ones. Raises `InputError` for a file that cannot be read or holds
    something else, and for another front end.
    """
    if table_of(name) is None:
        raise InputError(
            f"checkpoint={file}: model={name} has no published weights; "
            f"those that have are {', '.join(_with_weights())}."
        )
    tensors = read_tensors(file)
    chosen = [f"model={name}", f"frontend={frontend}", "recipe=published"]
    config = compose("train", [*chosen, *overrides])
    _check_frontend(file, name, config.frontend)
    model, names = _fitted(config, file, tensors)
    if differences := _differences(tensors, model, names):
        raise InputError(
            f"checkpoint={file} does not hold the weights of {name}: {differences}"
            f"{_owner(file, tensors)}."
        )
    check_finite(f"checkpoint={file}", tensors)
    state = {names[theirs]: tensor for theirs, tensor in tensors.items() if theirs in names}
    model.load_state_dict({**model.state_dict(), **state})
    return model.eval()


def _with_weights() -> list[str]:
    return [name for name in choices("model") if table_of(name) is not None]


def class_names(file: Path, count: int) -> tuple[str, ...]:
    """Return the tags of the data set that the file's path names, else class_0, class_1..."""
    for part in reversed(file.absolute().parts[-NAMING:]):
        found = TAGS.keys() & set(re.split(r"[^a-z]+", part.lower()))
        if found:
            tags = TAGS[found.pop()]
            if found or len(tags) != count:
                break
            return tags
    return tuple(f"class_{i}" for i in range(count))


def _check_frontend(file: Path, name: str, frontend: Mapping[str, Any]) -> None:
    usual = compose("train", [f"model={name}"]).frontend
    for key, value in sorted(usual.items(), key=lambda item: item[0] != "name"):
        if frontend.get(key) != value and key not in SAME_NUMBERS:
            shown = "frontend" if key == "name" else f"frontend.{key}"
            raise InputError(
                f"checkpoint={file}: its weights fit frontend={usual['name']} with its defaults, "
                f"not {shown}={frontend[key]}."
            )


def _fitted(
    config: Any, file: Path, tensors: Mapping[str, Tensor]
) -> tuple[GenreModel, dict[str, str]]:
    """Return a model with as many classes as the file's head has, and its published names."""
    table = table_of(config.model.name) or {}
    head = tensors.get(str(their_name("head.bias", table)))
    count = head.numel() if head is not None and head.numel() else 1
    classes = class_names(file, count)
    model = GenreModel(config_from(config, classes, True, config.clip_seconds))
    names = {their_name(ours, table): ours for ours in model.state_dict()}
    return model, {theirs: ours for theirs, ours in names.items() if theirs is not None}


def _differences(tensors: Mapping[str, Tensor], model: GenreModel, names: Mapping[str, str]) -> str:
    """Return what differs between the file's tensors and the model's; nothing if they fit."""
    state = model.state_dict()
    missing = [n for n in names if n not in tensors and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in tensors if n not in names and not n.startswith(FRONT_ENDS)]
    reshaped = [
        f"{n} ({list(tensors[n].shape)} instead of {list(state[ours].shape)})"
        for n, ours in names.items()
        if n in tensors and tensors[n].shape != state[ours].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return "; ".join(f"{kind} {_first(found)}" for kind, found in kinds.items() if found)


def _first(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _owner(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Say whose weights they are, where they are those of a registered model."""
    for name in _with_weights():
        config = compose("train", [f"model={name}"])
        if not _differences(tensors, *_fitted(config, file, tensors)):
            return f"; they are those of {name}"
    return ""
