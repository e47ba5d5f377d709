"""The registry: the folders of `configs/` name what there is; names become objects here."""

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import InputError, nearest

NOT_OF_A_RUN = {"suite"}  # folders of configs that hold no choices of a single run
SET_BY_US = {"self", "cache", "num_channels", "num_bins"}  # arguments that no config gives


@cache
def configs_dir() -> Path:
    """Return the folder of configurations: the repository's, else the copy in the wheel."""
    package = Path(__file__).resolve().parent
    repository = package.parent
    if (repository / "pyproject.toml").exists() and (repository / "configs/train.yaml").exists():
        return repository / "configs"
    return package / "configs"


@cache
def groups() -> tuple[str, ...]:
    """Return the names of what can be chosen for a run: model, frontend, dataset..."""
    folders = {file.parent.name for file in configs_dir().glob("[!.]*/[!.]*.yaml")}
    return tuple(sorted(folders - NOT_OF_A_RUN))


@cache
def choices(group: str) -> tuple[str, ...]:
    """Return the sorted names that a group offers; none for an unknown group."""
    return tuple(sorted(file.stem for file in (configs_dir() / group).glob("[!.]*.yaml")))


@cache
def targets() -> frozenset[str]:
    """Return every `_target_` that the configurations name."""
    texts = (file.read_text("utf-8") for file in configs_dir().rglob("*.yaml"))
    return frozenset(t for text in texts for t in re.findall(r"_target_:\s*([\w.]+)", text))


def read_choice(group: str, name: str) -> dict[str, Any]:
    """Return what `configs/<group>/<name>.yaml` says. Raises `InputError` for an unknown name."""
    if name not in choices(group):
        raise InputError(f"{group}={name} is unknown; {nearest(name, choices(group))}")
    return yaml.safe_load((configs_dir() / group / f"{name}.yaml").read_text("utf-8")) or {}


def offers(group: str, choice: str, key: str) -> bool:
    """Tell whether the choice's section has a key, such as `backend.dropout` of a model."""
    section: Any = read_choice(group, choice)
    section = section.get(group, section)
    for part in key.split("."):
        section = section.get(part, {}) if isinstance(section, dict) else {}
    return section != {}


def locate(target: str) -> Any:
    """Import what a `_target_` names.

    Raises `InputError` for one that the configurations do not name: it came in a file of somebody
    else, and is never called.
    """
    if target not in targets():
        raise InputError(f"_target_: {target} is none of the project's own configurations.")
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def parameters(target: str) -> dict[str, Any]:
    """Return the arguments that a `_target_` takes from its configuration: name -> annotation."""
    signature = inspect.signature(locate(target), eval_str=True)
    return {n: p.annotation for n, p in signature.parameters.items() if n not in SET_BY_US}


def defaults(kind: str, name: str) -> dict[str, Any]:
    """Return the arguments of a registered `frontend`, or of the back end of a `model`, that have
    defaults."""
    signature = inspect.signature(target(kind, name))
    return {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}


def build(section: Mapping[str, Any], *args: Any) -> Any:
    """Call the section's `_target_` with `args` and the section's other keys, except its name."""
    allowed = parameters(section["_target_"])
    keywords = {k: v for k, v in section.items() if k in allowed}
    return locate(section["_target_"])(*args, **keywords)


def build_named(kind: str, name: str, arguments: Mapping[str, Any], *args: Any) -> Any:
    """Build a registered `frontend`, or the back end of a `model`, from arguments.

    For arguments read from files of others: the name is looked up here, never imported from the
    file. Raises `InputError` for unknown names and arguments.
    """
    known = parameters(target_name(kind, name))
    unknown = set(arguments) - set(known)
    if unknown:
        word = min(unknown)
        raise InputError(f"{kind} {name} takes no {word!r}; {nearest(word, known)}")
    return target(kind, name)(*args, **arguments)


def target_name(kind: str, name: str) -> str:
    """Return the `_target_` of a registered `frontend`, or of the back end of a `model`."""
    section = read_choice(kind, name)
    return section["_target_"] if kind == "frontend" else section["model"]["backend"]["_target_"]


def target(kind: str, name: str) -> Any:
    """Return the class of a registered `frontend`, or of the back end of a `model`."""
    return locate(target_name(kind, name))
