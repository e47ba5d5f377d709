"""From `key=value` on the command line to a checked configuration.

Hydra composes what `configs/` says about the chosen model, front end, data set...; values are then
set here, as they were typed: no quoting, so that every real path is accepted, and each value is
checked against the type of its default.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from zoo.errors import InputError, guard, nearest
from zoo.registry import choices, configs_dir, groups, parameters

NULLABLE: dict[str, type] = {  # types of the keys of train.yaml whose default is null
    "epochs": int,
    "micro_batch_size": int,
    "threads": int,
    "output_dir": Path,
    "cache_dir": Path,
    "dataset.folds": int,
    "listen": Path,
}
MINIMUM: dict[str, float] = {  # where the type is not enough
    "epochs": 1,
    "min_steps": 1,
    "batch_size": 2,
    "micro_batch_size": 2,
    "clip_seconds": 0.1,
    "threads": 1,
    "patience": 1,
    "seed": 0,
    "optimizer.lr": 0,
    "optimizer.weight_decay": 0,
    "dataset.folds": 2,
    "dataset.fold": 0,
    "dataset.max_bad": 0,
    "model.dropout": 0,
}


class Argument(NamedTuple):
    """`key=value` as typed; `added` if it began with `+`."""

    key: str
    value: str
    added: bool


def parse(argument: str) -> Argument:
    """Split an argument at its first `=`. Raises `InputError` for anything else."""
    match = re.fullmatch(r"(\+{0,2})([A-Za-z_][\w./]*)=(.*)", argument, re.DOTALL)
    if match is None:
        raise InputError(f"{argument!r} is not of the form key=value, such as model=crnn.")
    return Argument(match[2], match[3], bool(match[1]))


def compose(name: str, arguments: Iterable[str] = ()) -> DictConfig:
    """Return the configuration `configs/<name>.yaml` with the arguments applied and checked.

    Raises `InputError` for an unknown key or choice, or a value of another type.
    """
    parsed = [parse(argument) for argument in arguments]
    selections = [a for a in parsed if a.key in groups()]
    for key, value, _ in selections:
        if value not in choices(key):
            raise InputError(f"{key}={value} is unknown; {nearest(value, choices(key))}")
    config = _compose_choices(name, [f"{a.key}={a.value}" for a in selections])
    return _finished(config, [a for a in parsed if a.key not in groups()])


def assign(content: Mapping[str, Any], arguments: Iterable[str]) -> DictConfig:
    """Return a configuration that was composed before, with other values."""
    return _finished(OmegaConf.create(dict(content)), map(parse, arguments))


def _finished(config: DictConfig, values: Iterable[Argument]) -> DictConfig:
    for argument in values:
        _set(config, argument)
    OmegaConf.resolve(config)
    OmegaConf.set_readonly(config, True)
    return config


def _compose_choices(name: str, selections: list[str]) -> DictConfig:
    """Compose with Hydra, also inside a Hydra application, and note each choice's name."""
    instance = GlobalHydra.instance()
    before, instance.hydra = instance.hydra, None
    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3"):
            config = hydra_compose(name, selections, return_hydra_config=True)
    finally:
        instance.hydra = before
    chosen = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
        for group in groups():
            if group in chosen and group in config:
                config[group].name = chosen[group]
    return config


def _set(config: DictConfig, argument: Argument) -> None:
    key, value, added = argument
    parent_key, _, leaf = key.rpartition(".")
    parent = OmegaConf.select(config, parent_key) if parent_key else config
    if not isinstance(parent, DictConfig) or (leaf not in parent and not added):
        raise InputError(_unknown(config, key))
    allowed = parameters(parent._target_) if "_target_" in parent else {}
    if leaf not in parent and leaf not in allowed:
        known = nearest(leaf, allowed or list(map(str, parent)))
        raise InputError(f"{parent_key or 'the configuration'} takes no {leaf!r}; {known}")
    if leaf in ("name", "_target_") and "name" not in allowed:
        raise InputError(f"{key} cannot be set; choose with {parent_key or 'model'}=NAME instead.")
    default = OmegaConf.select(parent, leaf)
    annotation = allowed.get(leaf) if default is None else None
    with open_dict(config):
        OmegaConf.update(config, key, _convert(key, value, default, annotation), force_add=True)
    _check_minimum(key, OmegaConf.select(config, key))


def _check_minimum(key: str, value: Any) -> None:
    if value is not None and key in MINIMUM and value < MINIMUM[key]:
        raise InputError(f"{key}={value} is too small; the least is {MINIMUM[key]:g}.")


def _unknown(config: DictConfig, key: str) -> str:
    known = list(_keys(config))
    leaves = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    group = key.partition(".")[0]
    others = [c for c in choices(group) if f"{group}.{c}" and _has_key(group, c, key)]
    if others:
        words = " and ".join(f"{group}={choice}" for choice in others)
        return f"{key} is not a key of {group}={config[group].name}; {words} take it."
    if leaves:
        return f"{key} is unknown; did you mean {' or '.join(leaves)}?"
    shown = [*known, *groups()]
    close = difflib.get_close_matches(key.rpartition(".")[2], [k.rpartition(".")[2] for k in shown])
    matches = [k for k in shown if k.rpartition(".")[2] in close]
    section = [k for k in known if k.startswith(f"{group}.")]
    return f"{key} is unknown; {nearest(key, matches or section or shown)}"


def _has_key(group: str, choice: str, key: str) -> bool:
    content = yaml.safe_load((configs_dir() / group / f"{choice}.yaml").read_text()) or {}
    return "_target_" in content and key.rpartition(".")[2] in content


def _keys(config: DictConfig, prefix: str = "") -> Iterable[str]:
    for name in map(str, config):
        value = config._get_node(name)
        if isinstance(value, DictConfig) and name != "_target_":
            yield from _keys(value, f"{prefix}{name}.")
        elif name not in ("_target_", "name"):
            yield f"{prefix}{name}"


def _convert(key: str, value: str, default: Any, annotation: Any) -> Any:
    """Return the value in the type of its default (or of the target's annotation)."""
    words = str(annotation)
    kind = NULLABLE.get(key) if default is None else type(default)
    if kind is None:
        names = {"Path": Path, "bool": bool, "int": int, "float": float, "str": str}
        kind = next((t for n, t in names.items() if n in words), None)
    if value == "null" and default is None:
        return None
    if kind is Path:
        return str(Path(value).expanduser())
    if kind is str:
        return value
    parsed = _scalar(value)
    if kind is float and isinstance(parsed, int) and not isinstance(parsed, bool):
        parsed = float(parsed)
    if kind is int and isinstance(parsed, float) and parsed.is_integer():
        parsed = int(parsed)
    expected = {int: "a whole number", float: "a number", bool: "true or false"}
    if kind is not None and (type(parsed) is not kind or parsed != parsed):
        example = f", such as {default}" if default is not None else ""
        raise InputError(f"{key}={value} must be {expected.get(kind, 'a list')}{example}.")
    return parsed


def _scalar(text: str) -> Any:
    try:
        return (
            float(text)
            if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", text)
            else yaml.safe_load(text)
        )
    except yaml.YAMLError:
        return text


def usage(name: str, about: str) -> str:
    """Return the help of a command: what it is for, the choices and the keys with defaults."""
    lines = [about.strip(), "", "Choices:"]
    lines += [f"  {group}={'|'.join(choices(group))}" for group in groups()]
    text = (configs_dir() / "train.yaml").read_text("utf-8")
    settings = text.partition("\n\n")[2].rstrip()
    lines += ["", "Keys and their defaults (write section.key=value for the indented ones):"]
    return "\n".join([*lines, *(f"  {line}" for line in settings.splitlines())])


def command(name: str, run: Callable[[Any], object], about: str) -> None:
    """Run a command that starts from the configuration `name`, with the process's arguments.

    A mistake of the user's ends with one sentence and exit code 2.
    """
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(usage(name, about))
    elif "--cfg" in arguments:
        rest = [a for a in arguments if a not in ("--cfg", "job")]
        guard(lambda: print(OmegaConf.to_yaml(compose(name, rest)), end=""))
    else:
        guard(lambda: run(compose(name, arguments)))
