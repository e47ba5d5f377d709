"""From `key=value` on the command line to a checked configuration.

Hydra composes what `configs/` says about the chosen model, front end, data set...; values are then
set here, as they were typed: no quoting, so that every real path is accepted, and each value is
checked against the type of its default.
"""

import copy
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import ConfigCompositionException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict

from zoo.errors import InputError, guard, nearest
from zoo.registry import choices, configs_dir, groups, offers, parameters, read_choice
from zoo.sources import RUN_CONFIG, Implied, implied, of_run
from zoo.values import convert, value_type


class Argument(NamedTuple):
    """`key=value` as typed; `added` if it began with `+`."""

    key: str
    value: str
    added: bool


def parse(argument: str) -> Argument:
    """Split an argument at its first `=`. Raises `InputError` for anything else."""
    match = re.fullmatch(r"(\+{0,2})([A-Za-z_][\w.]*)=(.*)", argument, re.DOTALL)
    if match is None:
        raise InputError(f"{argument!r} is not of the form key=value, such as model=crnn.")
    return Argument(match[2], match[3], bool(match[1]))


def compose(name: str, arguments: Iterable[str] = ()) -> DictConfig:
    """Return the configuration `configs/<name>.yaml` with the arguments applied and checked.

    The last of repeated keys wins. Raises `InputError` for an unknown key or choice, or a value of
    another type.
    """
    parsed = [parse(argument) for argument in arguments]
    typed = {a.key: a.value for a in parsed}
    chosen = {key: value for key, value in typed.items() if key in groups()}
    known = _implied(typed)
    chosen = {**known.choices, **chosen}
    for group, choice in chosen.items():
        read_choice(group, choice)
    content = _compose_choices(name, [f"{group}={choice}" for group, choice in chosen.items()])
    content.pop("kind", None)  # of the model: for tables, no setting
    content = _with_published(content)
    for group, values in known.values.items():
        if chosen.get(group) == known.choices.get(group, chosen.get(group)):
            _put(group, content[group]["backend"] if group == "model" else content[group], values)
    return _finished(content, [a for a in parsed if a.key not in groups()])


def _implied(typed: Mapping[str, str]) -> Implied:
    """Return what the checkpoint says, if there is one; what was typed goes before it."""
    checkpoint = typed.get("checkpoint", "null")
    known = Implied()
    if checkpoint != "null":
        run = Path(typed.get("output_dir", "")).expanduser() / RUN_CONFIG
        if typed.get("resume", "").lower() == "true" and run.is_file():
            known = of_run(run)  # the checkpoint may be gone by now
        else:
            known = implied(os.path.expanduser(checkpoint), typed.get("model"))  # noqa: PTH111
    is_pretrained = "true" in typed.get("model.backend.pretrained", "").lower()
    if {checkpoint, typed.get("model.backend.checkpoint", "null")} != {"null"} or is_pretrained:
        known = Implied({"finetune": "full", **known.choices}, known.values)
    return known


def _put(group: str, section: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set the arguments of a section's `_target_` that a checkpoint names."""
    if unknown := values.keys() - parameters(section["_target_"]).keys():
        raise InputError(
            f"the checkpoint's {group} takes no {min(unknown)!r}; it is not one of ours."
        )
    section.update(copy.deepcopy(dict(values)))


def assign(content: Mapping[str, Any], arguments: Iterable[str]) -> DictConfig:
    """Return a configuration that was composed before, with other values."""
    return _finished(copy.deepcopy(dict(content)), map(parse, arguments))


def _finished(content: dict[str, Any], values: Iterable[Argument]) -> DictConfig:
    for argument in values:
        _set(content, argument)
    config = OmegaConf.create(content)
    OmegaConf.set_struct(config, True)
    OmegaConf.set_readonly(config, True)
    return config


def _compose_choices(name: str, selections: list[str]) -> dict[str, Any]:
    """Compose with Hydra, and note each choice's name."""
    with _own_hydra(), initialize_config_dir(str(configs_dir()), version_base="1.3"):
        try:
            config = hydra_compose(name, selections, return_hydra_config=True)
        except ConfigCompositionException as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(f"{' '.join([name, *selections])}: {reason}.") from error
    chosen = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
        for group in groups():
            if group in chosen:
                config[group] = {**config.get(group, {}), "name": chosen[group]}
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _with_published(content: dict[str, Any]) -> dict[str, Any]:
    """With recipe=published, put what the model's section `published` says over all else."""
    published = content.pop("published", None)
    if content["recipe"]["name"] != "published":
        return content
    if published is None:
        having = [m for m in choices("model") if "published" in read_choice("model", m)]
        raise InputError(
            f"recipe=published: model={content['model']['name']} has no published recipe; "
            f"those that have one are {', '.join(having)}."
        )
    return OmegaConf.to_container(OmegaConf.merge(content, published))  # type: ignore[return-value]


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Leave the state of a Hydra application that we may be part of as it is."""
    Plugins.instance()  # found once, not in each call
    before, theirs = Singleton._instances, (GlobalHydra, JobRuntime, VersionBase)
    Singleton._instances = {cls: one for cls, one in before.items() if cls not in theirs}
    try:
        yield
    finally:
        Singleton._instances = before


def _set(content: dict[str, Any], argument: Argument) -> None:
    key, typed, added = argument
    parent_key, _, leaf = key.rpartition(".")
    section: Any = content
    for part in parent_key.split(".") if parent_key else ():
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise InputError(_unknown(content, key))
    if leaf in section and (leaf == "_target_" or (leaf == "name" and parent_key in groups())):
        group = key.partition(".")[0]
        raise InputError(f"{key} cannot be set; choose with {group}=NAME instead.")
    allowed = parameters(section["_target_"]) if "_target_" in section else {}
    if added and parent_key == "model.backend.config":  # transformers knows more than is there
        section[leaf] = yaml.safe_load(typed)
        return
    if leaf not in {**section, **allowed}:
        known = nearest(leaf, allowed or section)
        takes = f"{parent_key or 'the configuration'} takes no {leaf!r}; {known}"
        raise InputError(takes if added else _unknown(content, key))
    if leaf not in section and not added:
        raise InputError(f"{key} has no default; add it with +{key}={typed}.")
    default = section.get(leaf)
    if isinstance(default, dict):
        inside = ", ".join(_keys(default, f"{key}."))
        raise InputError(f"{key} is a section and takes no value itself; its keys: {inside}.")
    section[leaf] = convert(key, typed, default, *value_type(key, default, allowed.get(leaf)))


def _unknown(content: Mapping[str, Any], key: str) -> str:
    """Return the sentence about a key that the configuration does not have."""
    group, _, rest = key.partition(".")
    takers = [f"{group}={choice}" for choice in choices(group) if offers(group, choice, rest)]
    if takers:
        chosen = f"{group}={content.get(group, {}).get('name')}"
        return f"{key} is not a key of {chosen}, but of {', '.join(takers)}."
    known = [*_keys(content), *groups()]
    section = [k for k in known if k.startswith(f"{group}.")]
    ends = {k.rpartition(".")[2] for k in known}
    close = difflib.get_close_matches(key.rpartition(".")[2], ends)
    for candidates in (section, known):
        alike = [k for k in candidates if k.rpartition(".")[2] in close]
        if alike:
            best = difflib.get_close_matches(key, alike, cutoff=0)
            return f"{key} is unknown; did you mean {' or '.join(best)}?"
    return f"{key} is unknown; {nearest(key, section or {*content, *groups()})}"


def _keys(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
        elif name != "_target_" and not (name == "name" and prefix[:-1] in groups()):
            yield f"{prefix}{name}"


def usage(name: str, about: str) -> str:
    """Return the help of a command: what it is for, the choices and the keys with defaults."""
    lines = [about.strip(), "", "Choices:"]
    lines += [f"  {group}={'|'.join(choices(group))}" for group in groups()]
    lines += ["", "Keys and their defaults (write section.key=value for the indented ones):"]
    for file in dict.fromkeys(("train", name)):
        text = (configs_dir() / f"{file}.yaml").read_text("utf-8")
        settings = text.partition("\n\n")[2].strip()
        lines += [f"  {line}".rstrip() for line in settings.splitlines()]
    return "\n".join([*lines, "", "--cfg job prints all keys and values of the choices made."])


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
