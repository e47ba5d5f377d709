"""Figures that others have published: shown in grey, never ranked."""

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from zoo.errors import InputError
from zoo.results import Strict

FILE = Path(__file__).with_name("literature.yaml")


class Published(Strict):
    """A figure as its source states it, on a split that may differ from ours."""

    dataset: str
    model: str
    metric: str
    value: float
    split: str
    source: str
    url: str
    model_of_ours: str | None = None
    note: str = ""


def read_literature(file: Path = FILE) -> list[Published]:
    """Return the figures, by data set, metric, and best first. Raises `InputError` for a damaged
    file."""
    try:
        entries = yaml.safe_load(file.read_text("utf-8"))
        figures = TypeAdapter(list[Published]).validate_python(entries)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise InputError(f"{file} is no list of published figures: {error}.") from error
    return sorted(figures, key=lambda figure: (figure.dataset, figure.metric, -figure.value))
