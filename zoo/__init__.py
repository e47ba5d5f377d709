"""Genre Zoo: which audio architecture recognises genre in your music, how surely, at what cost?

Tensors carry their shape in their names: B batch, T samples, C channels, F frequency bins,
N frames, D features, K classes; `x_BCFN` is a batch of spectrograms.

Importing `zoo` is light: torch is loaded when a model is first made.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.model import GenreModel

__all__ = ["create_model", "list_datasets", "list_frontends", "list_models", "load_model"]


def list_models() -> list[str]:
    """Return the names that `model=` takes."""
    return _names("model")


def list_frontends() -> list[str]:
    """Return the names that `frontend=` takes."""
    return _names("frontend")


def list_datasets() -> list[str]:
    """Return the names that `dataset=` takes."""
    return _names("dataset")


def create_model(
    name: str,
    *,
    frontend: str | None = None,
    num_classes: int | None = None,
    checkpoint: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> "GenreModel":
    """Return a model with random weights, or with those of a `checkpoint`: a run or model folder,
    a folder of transformers or timm, a file of published weights, or a name on the Hub (see
    `zoo/sources.py`).

    `frontend` replaces the model's usual one; `overrides` are as on the command line, such as
    `model.backend.dropout=0.2`. Classes are called class_0, class_1... (2 of them by default), or
    as the checkpoint says. Raises `InputError`, a ValueError, for unknown names and for a
    checkpoint of another architecture or number of classes.
    """
    from zoo.config import compose
    from zoo.errors import InputError

    overrides = [*([f"frontend={frontend}"] if frontend else []), *overrides]
    source = [f"checkpoint={checkpoint}"] if checkpoint is not None else []
    config = compose("train", [f"model={name}", *source, *overrides])
    if num_classes is not None and num_classes < 1:
        raise InputError(f"num_classes={num_classes} must be 1 or more.")
    if checkpoint is not None:
        from zoo.pretrained import load

        return load(config, num_classes, overrides)
    from zoo.model import GenreModel, config_from

    classes = tuple(f"class_{i}" for i in range(num_classes or 2))
    return GenreModel(config_from(config, classes, False, config.clip_seconds))


def load_model(path_or_hub_name: str | Path) -> "GenreModel":
    """Return the model of a run folder, a model folder or a Hub repository, to evaluate with.

    Raises `InputError`, a ValueError, if there is none.
    """
    from zoo.model import GenreModel

    return GenreModel.from_pretrained(path_or_hub_name)


def _names(group: str) -> list[str]:
    from zoo.registry import choices

    return list(choices(group))
