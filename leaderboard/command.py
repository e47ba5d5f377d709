"""From a run's configuration back to the command that gives it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from zoo.config import compose
from zoo.errors import InputError
from zoo.registry import choices, groups
from zoo.results import INCIDENTAL, flat

NOT_TYPED = {*INCIDENTAL, "dataset.path"} - {"threads"}  # where things lie, and how they are done
USUAL = {"recipe": "zoo", "finetune": "scratch"}


def command_of(config: Mapping[str, Any]) -> str:
    """Return the command line of a run: its choices, and what else differs from their defaults.

    Places on a machine are left to the reader. Of choices that this version does not have all keys
    are given.
    """
    chosen = [
        f"{group}={name}"
        for group in ("model", "frontend", "dataset", "recipe", "finetune")
        if (name := config.get(group, {}).get("name")) in choices(group)
        and USUAL.get(group) != name
    ]
    try:
        usual: Any = OmegaConf.to_container(compose("train", chosen))
    except InputError:
        usual = {}
    given, defaults = flat(config), flat(usual)
    names = {f"{group}.name" for group in groups()}
    typed = [
        f"{'' if key in defaults else '+'}{key}={_typed(value)}"
        for key, value in given.items()
        if not (key in defaults and defaults[key] == value)
        and key not in NOT_TYPED | names
        and not key.endswith("_target_")
    ]
    place = ["dataset.path=DIR"] if "dataset.path" in given else []
    return " ".join(["python -m zoo.train", *map(shlex.quote, [*chosen, *place, *typed])])


def _typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
