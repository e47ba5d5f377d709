"""Models with the weights of a checkpoint: `zoo.create_model(name, checkpoint=...)`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zoo.errors import InputError
from zoo.model import START, GenreModel, ModelConfig, config_from
from zoo.published import SAME_NUMBERS, load_published
from zoo.registry import defaults
from zoo.sources import Source, find, implied

FREE = {  # settings that leave alone what is computed in evaluation, or come after the weights
    *(*START, *SAME_NUMBERS, "dropout", "attention_dropout", "patchout_time", "patchout_freq"),
    *("layers", "pooling", "short", "frozen", "gradient_checkpointing"),
}


def load(config: Any, num_classes: int | None, overrides: Iterable[str] = ()) -> GenreModel:
    """Return the model of a configuration with the weights of its `checkpoint`, to evaluate with.

    `overrides` are the settings of front end and back end that a file of published weights, which
    has none of its own, is loaded with. Raises `InputError` for a checkpoint of another
    architecture, front end or number of classes, or one that was trained with settings under which
    its weights compute something else.
    """
    name, frontend = config.model.name, config.frontend.name
    source = find(config.checkpoint)
    if source.kind == "zoo":
        model = GenreModel.from_pretrained(source.path)
        found = model.config
        if found.model != name or found.frontend != frontend:
            raise InputError(
                f"checkpoint={config.checkpoint} is {found.model} with {found.frontend}, "
                f"not {name} with {frontend}."
            )
    elif source.kind == "file" and name != "timm":
        model = load_published(name, source.path, frontend, overrides)
    else:
        model = _of_library(config, source, num_classes)
    _check_settings(config, model.config)
    if num_classes not in (None, len(model.config.classes)):
        raise InputError(
            f"checkpoint={config.checkpoint} has {len(model.config.classes)} classes, not "
            f"{num_classes}."
        )
    return model


def _check_settings(config: Any, found: ModelConfig) -> None:
    asked = config_from(config, found.classes, found.multilabel, found.clip_seconds)
    ours = dict(settings(asked))
    for key, theirs in settings(found):
        has_learned = key == "frontend.trainable" and theirs
        if theirs != ours[key] and (has_learned or key.rpartition(".")[2] not in FREE):
            raise InputError(
                f"checkpoint={config.checkpoint} was trained with {key}={theirs}, not "
                f"{ours[key]}; give {key}={theirs} as well."
            )


def settings(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of front end and back end, defaults where a config has none."""
    frontend = {**defaults("frontend", config.frontend), **(config.frontend_args or {})}
    backend = {**defaults("model", config.model), **(config.backend_args or {})}
    yield from ((f"frontend.{key}", value) for key, value in frontend.items())
    yield from ((f"model.backend.{key}", value) for key, value in backend.items())


def _of_library(config: Any, source: Source, num_classes: int | None) -> GenreModel:
    """Return a model with a backbone's weights, and with the classifier of the checkpoint where
    that reads what the backbone gives."""
    classes = tuple(f"class_{i}" for i in range(num_classes or 2))
    if source.kind == "transformers":
        _check_implied(config)
    model = GenreModel(config_from(config, classes, False, config.clip_seconds))
    backend: Any = model.backend
    head = backend.load(source.path) if source.kind == "transformers" else None
    model.has_head = head is not None
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


def _check_implied(config: Any) -> None:
    """Raise `InputError` for another front end, or other settings, than the checkpoint's."""
    known = implied(config.checkpoint, config.model.name)
    usual, given = known.choices["frontend"], config.frontend
    if given.name != usual:
        raise InputError(
            f"checkpoint={config.checkpoint} reads frontend={usual}, not {given.name}."
        )
    inner = known.values["model"].get("config", {})
    pairs = [(f"frontend.{k}", v, given[k]) for k, v in known.values["frontend"].items()]
    pairs += [
        (f"model.backend.config.{k}", v, config.model.backend.config[k])
        for k, v in inner.items()
        if "dropout" not in k
    ]
    for key, theirs, ours in pairs:
        if theirs != ours:
            raise InputError(
                f"checkpoint={config.checkpoint} was trained with {key}={theirs}, not {ours}; "
                f"give {key}={theirs} as well."
            )
