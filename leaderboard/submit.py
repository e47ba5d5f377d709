"""`python -m leaderboard submit RUN ...`: add finished runs to the results that the project keeps.

A run's result, scores, curves and measures are copied, whole or not at all, to a folder that its
protocol, recipe and seed name. Where files lie on the machine that it ran on is left out.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaderboard.protocols import (
    RESULTS,
    add_protocol,
    folder_of,
    protocol_id,
    read_protocols,
    recipe_fits,
)
from zoo.errors import InputError
from zoo.pooling import checked_run
from zoo.results import FILE, SCORES, Result, write_result

KEPT = (*SCORES.values(), "log.csv", "tuning.json", "measures")  # beside result.json
PLACES = ("output_dir", "cache_dir", "dataset.path")  # keys that say where something lies
WEIGHTS = ("checkpoint", "model.backend.checkpoint")


def submit(run: Path, results: Path = RESULTS, new_protocol: bool = False) -> Path:
    """Copy a run into `results`; return its folder there.

    Raises `InputError` for what is no finished run, whose scores do not give its metrics, whose
    protocol is unknown (unless it is a `new_protocol`), or whose like is there already.
    """
    result = checked_run(run).result
    if not recipe_fits(result):
        raise InputError(f"{run / FILE}: its recipe {result.recipe} is not that of its config.")
    folder = folder_of(result, results)
    if folder.exists():
        raise InputError(f"{run}: {folder} holds a run of the same protocol, recipe and seed.")
    known = read_protocols(results) or {}
    if not new_protocol and protocol_id(result.protocol) not in known:
        there = f" There are {', '.join(known.values())}." if known else ""
        raise InputError(
            f"{run} is of a protocol (data, split and test tracks) that {results} does not have; "
            f"if that is meant, use --new-protocol.{there}"
        )
    try:
        _copy(run, folder, result)
        if new_protocol:
            add_protocol(results, result.protocol)
    except OSError as error:
        raise InputError(f"{results} cannot be written to: {error.strerror or error}.") from error
    return folder


def _copy(run: Path, folder: Path, result: Result) -> None:
    """Copy what is kept of a run to a folder, whole or not at all."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in KEPT:
        if (run / name).is_dir():
            shutil.copytree(run / name, part / name, ignore=shutil.ignore_patterns("*.part"))
        elif (run / name).exists():
            shutil.copy(run / name, part)
    write_result(part, result.model_copy(update={"config": without_places(result.config)}))
    part.replace(folder)


def without_places(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration without places on a machine; of weights the file's name stays."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            kept[key] = without_places(value, f"{name}.")
        elif name in PLACES:
            kept[key] = None
        elif name in WEIGHTS and value is not None and _is_place(value):
            kept[key] = "/".join(Path(value).parts[-3:])  # data set, model, file
        else:
            kept[key] = value
    return kept


def _is_place(checkpoint: str) -> bool:
    path = Path(checkpoint).expanduser()
    return path.is_absolute() or path.exists()
