"""Fine-tuning: training that starts from the weights of a checkpoint, and what of them learns."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.model import GenreModel, ModelConfig, config_from, without_start
from zoo.pretrained import load, settings
from zoo.sources import find

ADAPTERS = ("lora", "adapter")  # learn inside the network, which does not
PROBES = ("head", "knn", "prototype")  # on embeddings that are computed once


def check(config: Any) -> None:
    """Raise `InputError` if the method needs weights that there are not, or has no use for them."""
    method, backend = config.finetune.name, config.model.backend
    given = backend.get("pretrained") or backend.get("checkpoint")
    if method == "scratch" and backend.get("pretrained"):
        raise InputError(
            "finetune=scratch takes random weights, not those of model.backend.pretrained=true."
        )
    if method != "scratch" and config.checkpoint is None and not given:
        raise InputError(
            f"finetune={method} needs weights to start from: give checkpoint=... as well (a run, a "
            "folder, a file or a name on the Hub)."
        )
    is_random = backend.get("pooling") == "attention" and config.checkpoint is not None
    if method in PROBES and is_random and find(config.checkpoint).kind != "zoo":
        raise InputError(
            f"finetune={method} learns no attention: take model.backend.pooling=mean or mean_std."
        )
    strengths = config.finetune.l2 if method == "head" else [1.0]
    if not all(strength > 0 for strength in strengths or [0.0]):
        raise InputError(f"finetune.l2={strengths} must be a list of numbers above 0.")


def model_config(config: Any, manifest: Manifest, clip_seconds: float) -> ModelConfig:
    """Return what the model to train is; where it starts from a checkpoint, of which."""
    asked = config_from(config, manifest.classes, bool(manifest.multilabel), clip_seconds)
    if config.finetune.name == "scratch":
        return without_start(asked)
    backend = config.model.backend
    base = config.checkpoint or backend.get("checkpoint") or backend.get("name")
    return replace(asked, base=str(base))


def source_of(config: Any) -> GenreModel | None:
    """Return the model that `checkpoint` names, whose weights training starts from; None if none.

    Raises `InputError` for what cannot be read or does not fit the configuration.
    """
    if config.checkpoint is None or config.finetune.name == "scratch":
        return None
    asked = config_from(config, ("two", "classes"), False, config.clip_seconds)
    typed = [
        f"{key}={'null' if value is None else value}"
        for key, value in settings(asked)
        if not isinstance(value, Mapping)
    ]
    return load(config, None, typed)


def name_origin(model: GenreModel, config: Any) -> list[str]:
    """Note in the model's config which weights it has and what licence they state; return what
    there is to say."""
    if config.finetune.name == "scratch":
        return []
    stated = find(config.checkpoint).licence if config.checkpoint else None
    model.config = replace(model.config, base_hash=weights_hash(model), licence=stated)
    return [f"licence of the checkpoint: {stated or 'not stated'}"]


def take_weights(model: GenreModel, source: GenreModel, with_head: bool = True) -> str:
    """Copy the source's weights, the head's where that is a layer for the same classes; return what
    was done.

    Raises `InputError` where the source does not have what the model's layers need.
    """
    state, theirs = model.state_dict(), source.state_dict()
    against = _against_head(model, source) if with_head else "a probe fits its own"
    ours = tuple(f"backend.{start}" for start in model.backend.learned_here)
    taken = {}
    for key, tensor in state.items():
        is_of_head = key.startswith("head.")
        if is_of_head and against:
            continue
        if key in theirs and theirs[key].shape == tensor.shape:
            taken[key] = theirs[key]
        elif not key.startswith(("frontend.", *ours)):  # its own kernels are the usual ones
            raise InputError(
                f"the checkpoint has no weights for {key}: it was trained with fewer or other "
                "layers; leave model.backend.layers and pooling as they were."
            )
    model.load_state_dict({**state, **taken})
    end = f" with a new head: {against}" if against else ", its head too: the classes are equal"
    return f"starting from the checkpoint's weights{end}"


def _against_head(model: GenreModel, source: GenreModel) -> str:
    """Return why the source's head cannot be taken; nothing if it can."""
    ours, theirs = model.config, source.config
    if not source.has_head:
        return "the checkpoint has none"
    if theirs.neighbours is not None:
        return "its own is no layer, but the votes of neighbours"
    if ours.classes != theirs.classes:
        return f"its {len(theirs.classes)} classes are not these {len(ours.classes)}"
    if ours.multilabel != theirs.multilabel:
        return "of one label a track and of several it is not the same"
    if model.backend.num_features != source.backend.num_features:
        return "its own reads other features"
    return ""


def weights_hash(model: GenreModel) -> str:
    """Return a hash of the weights that a checkpoint gave: the same wherever it lies."""
    ours = ("head.", *(f"backend.{start}" for start in model.backend.learned_here))
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        if not key.startswith(ours):
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def adapt(model: GenreModel, config: Any) -> list[str]:
    """Put adapters into the model, if the method is one of them; return what there is to say."""
    if config.finetune.name not in ADAPTERS:
        return []
    from zoo.adapters import inject  # PEFT takes seconds to import

    return [inject(model, config.finetune)]


Rates = list[tuple[list[nn.Parameter], float]]
"""Parameters, and what the learning rate is multiplied by for them."""


def rates(model: GenreModel, config: Any) -> Rates:
    """Return all parameters that learn, in groups of one rate: the layers' own with
    `finetune=layerwise`, where each is `layer_decay` times that of the next."""
    if config.finetune.name != "layerwise":
        return [(list(model.parameters()), 1.0)]
    modules: list[list[nn.Module]] = [
        [model.frontend],
        *model.backend.layer_groups(),
        [model.head],
    ]
    every = [[p for module in group for p in module.parameters()] for group in modules]
    groups = [group for group in every if group]
    last, decay = len(groups) - 1, config.finetune.layer_decay
    return [(group, decay ** (last - i)) for i, group in enumerate(groups)]
