"""`python -m leaderboard submit RUN ...`: add finished runs to the results that the project keeps.

A run's result, scores, curves and measures are copied, whole or not at all, to a folder that its
protocol, recipe and seed name. Where files lie on the machine that it ran on is left out.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import InputError
from zoo.pooling import checked_run
from zoo.results import SCORES, Result, write_result

RESULTS = Path(__file__).parent / "results"
KEPT = (*SCORES.values(), "log.csv", "tuning.json", "measures")  # beside result.json
PLACES = ("output_dir", "cache_dir", "dataset.path")  # keys that say where something lies
WEIGHTS = ("checkpoint", "model.backend.checkpoint")


def submit(run: Path, results: Path = RESULTS) -> Path:
    """Copy a run into `results`; return its folder there.

    Raises `InputError` for what is no finished run, whose scores do not give its metrics, or whose
    like is there already.
    """
    result = checked_run(run).result
    folder = results / result.protocol.dataset / result.model / name_of(result)
    if folder.exists():
        raise InputError(f"{run}: {folder} holds a run of the same protocol, recipe and seed.")
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
    return folder


def name_of(result: Result) -> str:
    """Return a hash of protocol, recipe and seed."""
    protocol = result.protocol.model_dump(exclude={"contrasts"})
    text = json.dumps([protocol, result.recipe, result.seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
