"""Fine-tuning: training that starts from the weights of a checkpoint."""

from typing import Any

from zoo import create_model
from zoo.errors import InputError
from zoo.model import GenreModel, config_from
from zoo.published import SAME_NUMBERS


def source_of(config: Any) -> GenreModel | None:
    """Return the model that `checkpoint` names, whose weights training starts from; None if none.

    Raises `InputError` for what cannot be read or is another architecture or front end.
    """
    if config.checkpoint is None:
        return None
    asked = config_from(config, ("two", "classes"), False, config.clip_seconds)
    sections = {"frontend": asked.frontend_args, "model.backend": asked.backend_args}
    settings = {f"{s}.{k}": v for s, args in sections.items() for k, v in (args or {}).items()}
    source = create_model(
        asked.model,
        frontend=asked.frontend,
        checkpoint=config.checkpoint,
        overrides=[
            f"{key}={'null' if value is None else value}" for key, value in settings.items()
        ],
    )
    for key, theirs in (source.config.frontend_args or {}).items():
        ours = settings[f"frontend.{key}"]
        if theirs != ours and key not in SAME_NUMBERS:
            raise InputError(
                f"checkpoint={config.checkpoint} was trained with frontend.{key}={theirs}, not "
                f"{ours}; give frontend.{key}={theirs} as well."
            )
    _check_shapes(config.checkpoint, GenreModel(asked), source)
    return source


def _check_shapes(checkpoint: str, model: GenreModel, source: GenreModel) -> None:
    ours, theirs = model.state_dict(), source.state_dict()
    for name in {**ours, **theirs}:
        shapes = [list(s[name].shape) if name in s else "nothing" for s in (theirs, ours)]
        if shapes[0] != shapes[1] and not name.startswith("head."):
            raise InputError(
                f"checkpoint={checkpoint} has {shapes[0]} where this model has {shapes[1]}, in "
                f"{name}; give the model's settings that it was trained with."
            )


def take_weights(model: GenreModel, source: GenreModel) -> str:
    """Copy the source's weights, the head's where the classes are equal; return what was done."""
    ours, theirs = model.config.classes, source.config.classes
    weights = source.state_dict()
    if ours == theirs:
        model.load_state_dict(weights)
        return "starting from the checkpoint's weights, its head too: the classes are equal"
    model.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith("head.")}, strict=False
    )
    return (
        f"starting from the checkpoint's weights with a new head: its {len(theirs)} classes are "
        f"not these {len(ours)}"
    )
