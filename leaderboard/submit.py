"""`python -m leaderboard submit RUN ...`: add finished runs to the results that the project keeps.

A run's result, scores, curves and measures are copied, whole or not at all, to a folder that its
protocol, recipe and seed name. Where files lie on the machine that it ran on is left out.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leaderboard.kept import (
    RESULTS,
    add_protocol,
    protocol_id,
    read_protocols,
    run_id,
)
from zoo.errors import InputError
from zoo.pooling import checked_run
from zoo.results import SCORES, Result, write_result

KEPT = (*SCORES.values(), "log.csv", "tuning.json", "measures")  # beside result.json
PLACES = ("output_dir", "cache_dir", "dataset.path")  # keys that say where something lies
WEIGHTS = ("checkpoint", "model.backend.checkpoint")


def submit(run: Path, results: Path = RESULTS, new_protocol: bool = False) -> Path:
    """Copy a run into `results`; return its folder there.

    Raises `InputError` for what is no finished run, whose scores do not give its metrics, whose
    protocol is unknown (unless it is a `new_protocol`), or whose like is there already.
    """
    result = checked_run(run).result
    folder = folder_of(result, results)
    if folder.exists():
        raise InputError(f"{run}: {folder} holds a run of the same protocol, recipe and seed.")
    known = read_protocols(results)
    if not new_protocol and protocol_id(result.protocol) not in (known or ()):
        raise InputError(
            f"{run} is of a protocol (data, split and test tracks) that {results} does not have; "
            f"if that is meant, use --new-protocol. Known are {', '.join((known or {}).values())}."
        )
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in KEPT:
        if (run / name).is_dir():
            shutil.copytree(run / name, part / name, ignore=shutil.ignore_patterns("*.part"))
        elif (run / name).exists():
            shutil.copy(run / name, part)
    write_result(part, result.model_copy(update={"config": without_places(result.config)}))
    if new_protocol:
        add_protocol(results, result.protocol)
    part.replace(folder)
    return folder


def folder_of(result: Result, results: Path) -> Path:
    """Return where a run is kept. Raises `InputError` for names that cannot be those of folders."""
    for name in (result.protocol.dataset, result.model):
        if not re.fullmatch(r"\w[\w .+-]*", name):
            raise InputError(f"{name!r} cannot be the name of a folder; use letters and digits.")
    return results / result.protocol.dataset / result.model / run_id(result)


def without_places(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration without places on a machine; of weights the file's name stays."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            kept[key] = without_places(value, f"{name}.")
        elif name in PLACES:
            kept[key] = None
        elif name in WEIGHTS and value is not None and Path(value).expanduser().exists():
            kept[key] = "/".join(Path(value).parts[-3:])  # data set, model, file
        else:
            kept[key] = value
    return kept
