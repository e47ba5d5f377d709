"""Fine-tuning: training that starts from the weights of a checkpoint."""

from collections.abc import Iterator, Mapping
from typing import Any

from zoo import create_model
from zoo.errors import InputError
from zoo.model import START, GenreModel, ModelConfig, config_from
from zoo.published import SAME_NUMBERS
from zoo.registry import defaults

FREE = {  # settings that leave alone what is computed in evaluation
    *(*START, *SAME_NUMBERS, "dropout", "attention_dropout", "patchout_time", "patchout_freq"),
}


def source_of(config: Any) -> GenreModel | None:
    """Return the model that `checkpoint` names, whose weights training starts from; None if none.

    Raises `InputError` for what cannot be read, is another architecture or front end, or was
    trained with settings under which its weights compute something else.
    """
    if config.checkpoint is None:
        return None
    asked = config_from(config, ("two", "classes"), False, config.clip_seconds)
    ours = dict(settings(asked))
    source = create_model(
        asked.model,
        frontend=asked.frontend,
        checkpoint=config.checkpoint,
        overrides=[f"{key}={'null' if value is None else value}" for key, value in ours.items()],
    )
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


def take_weights(model: GenreModel, source: GenreModel) -> str:
    """Copy the source's weights, the head's where the classes are equal; return what was done."""
    ours, theirs = model.config.classes, source.config.classes
    given: Mapping[str, Any] = source.state_dict()
    if ours != theirs:
        given = {key: tensor for key, tensor in given.items() if not key.startswith("head.")}
    model.load_state_dict({**model.state_dict(), **given})
    if ours == theirs:
        return "starting from the checkpoint's weights, its head too: the classes are equal"
    return (
        f"starting from the checkpoint's weights with a new head: its {len(theirs)} classes are "
        f"not these {len(ours)}"
    )
