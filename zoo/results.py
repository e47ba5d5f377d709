"""The result of a run: its schema, and how results are pooled and ranked. Imports no torch."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.datasets.base import encode_labels
from zoo.errors import InputError
from zoo.metrics import PRIMARY, pair_accuracy

SCHEMA = 1
FILE = "result.json"
SCORES = {"test": "scores.parquet", "validation": "scores_validation.parquet"}
IDENTITY = ("track", "label", "artist", "group")  # columns of the scores beside `p:<class>`
NOT_RECIPE = ("seed", "output_dir", "resume", "cache_dir", "threads", "tracker", "listen")


class Strict(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Protocol(Strict):
    """What was measured on what: only results of one protocol may be ranked together."""

    dataset: str
    split: str
    fold: int | None
    classes: list[str]
    multilabel: bool
    evaluation: str
    train_fingerprint: str  # of the tracks trained on
    test_fingerprint: str  # of the tracks actually scored
    contrasts: dict[str, tuple[str, str]] = {}  # pairs of classes to tell apart, by what differs


class Costs(Strict):
    """What it took."""

    parameters: int
    trainable_parameters: int
    train_seconds: float
    wall_seconds: float
    clips_per_second: float  # in training
    steps: int
    epochs: float
    peak_memory_bytes: int  # of the GPU, else of the process


class Hardware(Strict):
    """Where it ran."""

    device: str
    processor: str
    num_cores: int
    num_processes: int


class Result(Strict):
    """One run, as `result.json` holds it."""

    schema_version: int = SCHEMA
    model: str
    frontend: str
    protocol: Protocol
    recipe: str
    seed: int
    threads: int
    precision: str
    clip_seconds: float
    metrics: dict[str, dict[str, float]]  # by split: validation and test
    best_epoch: int
    costs: Costs
    hardware: Hardware
    versions: dict[str, str]
    config: dict[str, Any]
    left_out: int  # tracks that could not be used

    @property
    def primary(self) -> str:
        """The metric that ranks."""
        return PRIMARY[self.protocol.multilabel]


def recipe_hash(config: Mapping[str, Any]) -> str:
    """Return the hash of a configuration without what may differ between runs to be pooled."""
    kept: dict[str, Any] = {k: v for k, v in config.items() if k not in NOT_RECIPE}
    dataset = dict(kept.get("dataset", {}))
    kept["dataset"] = {k: v for k, v in dataset.items() if k not in ("fold", "path")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def read_result(folder: Path) -> Result:
    """Read and validate a run's result. Raises `InputError` for what is none."""
    file = folder / FILE
    try:
        return Result.model_validate_json(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        reason = "; ".join(str(error).splitlines()[1:3]) or str(error)
        raise InputError(f"{file} is not a valid result: {reason}.") from error


def write_result(folder: Path, result: Result) -> None:
    """Write result.json whole or not at all."""
    part = folder / f"{FILE}.part"
    part.write_text(result.model_dump_json(indent=2) + "\n", "utf-8")
    part.replace(folder / FILE)


def read_scores(file: Path, classes: Iterable[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the tracks and their probabilities `[B,K]` in the order of `classes`."""
    columns = [f"p:{name}" for name in classes]
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as scores: {error}.") from error
    missing = {*IDENTITY, *columns} - set(table.columns)
    if missing:
        raise InputError(f"{file} has no column {sorted(missing)[0]!r}: it is not a score table.")
    return table[list(IDENTITY)], table[columns].to_numpy()


def pooled_scores(folders: Sequence[Path], protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities of the test tracks of several runs (folds), one after
    the other, from their score tables alone."""
    parts = [read_scores(folder / SCORES["test"], protocol.classes) for folder in folders]
    labels = pd.concat([tracks["label"] for tracks, _ in parts], ignore_index=True)
    targets = encode_labels(labels, protocol.classes, protocol.multilabel)
    return targets, np.concatenate([probabilities for _, probabilities in parts])


def contrast_accuracy(folders: Sequence[Path], protocol: Protocol) -> dict[str, float]:
    """Return how well each of the protocol's pairs of classes is told apart; 0.5 is chance."""
    if not protocol.contrasts:
        return {}
    pairs = pair_accuracy(*pooled_scores(folders, protocol))
    place = {name: i for i, name in enumerate(protocol.classes)}
    return {by: float(pairs[place[a], place[b]]) for by, (a, b) in protocol.contrasts.items()}
