"""Fine-tuning: training that starts from the weights of a checkpoint, and what of them learns."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.model import START, GenreModel, ModelConfig, config_from
from zoo.pretrained import load
from zoo.published import SAME_NUMBERS
from zoo.registry import defaults
from zoo.sources import find

ADAPTERS = ("lora", "adapter")  # learn inside the network, which does not
PROBES = ("head", "knn", "prototype")  # on embeddings that are computed once
FREE = {  # settings that leave alone what is computed in evaluation, or come after the weights
    *(*START, *SAME_NUMBERS, "dropout", "attention_dropout", "patchout_time", "patchout_freq"),
    *("layers", "pooling", "short", "gradient_checkpointing"),
}


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
    strengths = config.finetune.l2 if method == "head" else [1.0]
    if not all(strength > 0 for strength in strengths or [0.0]):
        raise InputError(f"finetune.l2={strengths} must be a list of numbers above 0.")


def model_config(config: Any, manifest: Manifest, clip_seconds: float) -> ModelConfig:
    """Return what the model to train is; where it starts from a checkpoint, of which."""
    asked = config_from(config, manifest.classes, bool(manifest.multilabel), clip_seconds)
    if config.finetune.name == "scratch":
        args = {k: START.get(k, v) for k, v in (asked.backend_args or {}).items()}
        return replace(asked, backend_args=args)
    backend = config.model.backend
    base = config.checkpoint or backend.get("checkpoint") or backend.get("name")
    stated = find(config.checkpoint).licence if config.checkpoint else None
    return replace(asked, base=str(base), licence=stated)


def source_of(config: Any) -> GenreModel | None:
    """Return the model that `checkpoint` names, whose weights training starts from; None if none.

    Raises `InputError` for what cannot be read, is another architecture or front end, or was
    trained with settings under which its weights compute something else.
    """
    if config.checkpoint is None or config.finetune.name == "scratch":
        return None
    asked = config_from(config, ("two", "classes"), False, config.clip_seconds)
    ours = dict(settings(asked))
    typed = [
        f"{key}={'null' if value is None else value}"
        for key, value in ours.items()
        if not isinstance(value, Mapping)
    ]
    source = load(config, None, typed)
    for key, theirs in settings(source.config):
        has_learned = key == "frontend.trainable" and theirs
        if theirs != ours[key] and (has_learned or key.rpartition(".")[2] not in FREE):
            raise InputError(
                f"checkpoint={config.checkpoint} was trained with {key}={theirs}, not "
                f"{ours[key]}; give {key}={theirs} as well."
            )
    return source


def settings(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of front end and back end, defaults where a config has none."""
    frontend = {**defaults("frontend", config.frontend), **(config.frontend_args or {})}
    backend = {**defaults("model", config.model), **(config.backend_args or {})}
    yield from ((f"frontend.{key}", value) for key, value in frontend.items())
    yield from ((f"model.backend.{key}", value) for key, value in backend.items())


def take_weights(model: GenreModel, source: GenreModel, with_head: bool = True) -> str:
    """Copy the source's weights, the head's where that is a layer for the same classes; return what
    was done."""
    ours, theirs = model.config.classes, source.config.classes
    against = ""
    if not with_head:
        against = "a probe fits its own"
    elif source.config.neighbours is not None:
        against = "its own is no layer, but the votes of neighbours"
    elif ours != theirs:
        against = f"its {len(theirs)} classes are not these {len(ours)}"
    state, leaving = model.state_dict(), ("head.",) if against else ()
    given = source.state_dict().items()  # with more layers, perhaps, than are asked for
    taken = {key: tensor for key, tensor in given if key in state and not key.startswith(leaving)}
    model.load_state_dict({**state, **taken})
    end = f" with a new head: {against}" if against else ", its head too: the classes are equal"
    stated = model.config.licence or "not stated"
    return f"starting from the checkpoint's weights{end}; their licence: {stated}"


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
