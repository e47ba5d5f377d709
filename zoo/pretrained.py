"""Models with the weights of a checkpoint: `zoo.create_model(name, checkpoint=...)`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zoo.errors import InputError
from zoo.model import GenreModel, config_from
from zoo.published import load_published
from zoo.sources import Source, find, implied


def load(config: Any, num_classes: int | None, overrides: Iterable[str] = ()) -> GenreModel:
    """Return the model of a configuration with the weights of its `checkpoint`, to evaluate with.

    `overrides` are the settings of front end and back end that a file of published weights, which
    has none of its own, is loaded with. Raises `InputError` for a checkpoint of another
    architecture, front end or number of classes.
    """
    name, frontend = config.model.name, config.frontend.name
    source = find(config.checkpoint)
    if source.kind == "file" and name != "timm":
        return load_published(name, source.path, frontend, num_classes, overrides)
    if source.kind == "zoo":
        model = GenreModel.from_pretrained(source.path)
        found = model.config
        if found.model != name or found.frontend != frontend:
            raise InputError(
                f"checkpoint={config.checkpoint} is {found.model} with {found.frontend}, "
                f"not {name} with {frontend}."
            )
    else:
        model = _of_library(config, source, num_classes)
    if num_classes not in (None, len(model.config.classes)):
        raise InputError(
            f"checkpoint={config.checkpoint} has {len(model.config.classes)} classes, not "
            f"{num_classes}."
        )
    return model


def _of_library(config: Any, source: Source, num_classes: int | None) -> GenreModel:
    """Return a model with a backbone's weights, and with the classifier of the checkpoint where
    that reads what the backbone gives."""
    classes = tuple(f"class_{i}" for i in range(num_classes or 2))
    model = GenreModel(config_from(config, classes, False, config.clip_seconds))
    if source.kind == "transformers":
        _check_frontend(config)
    backend: Any = model.backend
    head = backend.load(source.path) if source.kind == "transformers" else None
    if head is not None:
        names = source.content.get("id2label") or {}
        classes = tuple(str(names.get(str(i), f"class_{i}")) for i in range(len(head.bias)))
        multilabel = source.content.get("problem_type") == "multi_label_classification"
        model.config = replace(model.config, classes=classes, multilabel=multilabel)
        model.head = nn.Linear(backend.num_features, len(classes))
        with torch.no_grad():
            model.head.weight.copy_(head.weight)
            model.head.bias.copy_(head.bias)
    return model.eval()


def _check_frontend(config: Any) -> None:
    """Raise `InputError` for another front end, or other settings of it, than the checkpoint's."""
    asked = implied(config.checkpoint, config.model.name)
    usual, given = asked.choices["frontend"], config.frontend
    if given.name != usual:
        raise InputError(
            f"checkpoint={config.checkpoint} reads frontend={usual}, not {given.name}."
        )
    for key, value in asked.values["frontend"].items():
        if given[key] != value:
            raise InputError(
                f"checkpoint={config.checkpoint} was trained with frontend.{key}={value}, not "
                f"{given[key]}; give frontend.{key}={value} as well."
            )
