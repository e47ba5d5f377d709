"""From a run's configuration back to the command that gives it."""

import json
import shlex
from collections.abc import Mapping
from functools import cache
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
    given, defaults = flat(config), flat(_usual(*chosen))
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


@cache
def _usual(*chosen: str) -> dict[str, Any]:
    """Return the configuration of these choices; nothing where they cannot be made together."""
    try:
        return OmegaConf.to_container(compose("train", chosen))  # type: ignore[return-value]
    except InputError:
        return {}


def _typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
