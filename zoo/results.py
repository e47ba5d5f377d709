"""The result of a run: its schema, and its files read and written. Imports no torch."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.datasets.base import encode_labels
from zoo.errors import InputError
from zoo.metrics import PRIMARY

SCHEMA: Literal[1] = 1
FILE = "result.json"
SCORES = {"test": "scores.parquet", "validation": "scores_validation.parquet"}
IDENTITY = ("track", "label", "artist", "group")  # columns of the scores beside `p:<class>`
INCIDENTAL = (
    *("output_dir", "resume", "cache_dir", "threads", "tracker", "checkpoint_minutes", "audit"),
    *("dataset.download", "prepare.engine", "prepare.workers", "prepare.verify"),
)
NOT_RECIPE = ("seed", "split", "listen", "prepare", *INCIDENTAL)
NOT_RECIPE_OF_DATASET = ("fold", "path", "download", "planted")


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


class Warned(Strict):
    """What makes a score too good, or wrong."""

    kind: str
    sentence: str
    affected: int  # test tracks


class Audited(Strict):
    """What the audit of a run's tracks found."""

    test_tracks: int
    affected: int  # of these, by any of the warnings
    warnings: list[Warned]


class Result(Strict):
    """One run, as `result.json` holds it."""

    schema_version: Literal[1] = SCHEMA
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
    licence: str | None = None  # of the checkpoint that training started from, as it states it
    audit: Audited | None = None  # None: of a run before there were audits

    @property
    def primary(self) -> str:
        """The metric that ranks."""
        return PRIMARY[self.protocol.multilabel]


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"optimizer.lr": 0.001}` for `{"optimizer": {"lr": 0.001}}`."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping)
        values |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return values


def recipe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what may differ between runs to be pooled."""
    kept: dict[str, Any] = {k: v for k, v in config.items() if k not in NOT_RECIPE}
    dataset = dict(kept.get("dataset", {}))
    kept["dataset"] = {k: v for k, v in dataset.items() if k not in NOT_RECIPE_OF_DATASET}
    return kept


def recipe_hash(config: Mapping[str, Any], weights: str | None = None) -> str:
    """Return the hash of `recipe_config`; the `weights` that training started from count by their
    own hash, wherever their file was."""
    kept = recipe_config(config) | {"checkpoint": weights}
    if "checkpoint" in (backend := kept["model"].get("backend", {})):
        kept["model"] = {**kept["model"], "backend": {**backend, "checkpoint": None}}
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    columns = {name: f"p:{name}" for name in classes}
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as scores: {error}.") from error
    missing = {*IDENTITY, *columns.values()} - set(table.columns)
    if missing:
        raise InputError(f"{file} has no column {sorted(missing)[0]!r}: it is not a score table.")
    unknown = set(table["label"].astype(str).str.split("|").explode().str.strip())
    unknown -= {"", *columns}
    if unknown:
        raise InputError(f"{file} has the label {min(unknown)!r}, which is none of the classes.")
    return table[list(IDENTITY)], table[list(columns.values())].to_numpy()


def validation_of(
    folder: Path, classes: Sequence[str], multilabel: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return targets (as `encode_labels`) and probabilities `[B,K]` of a run's validation tracks;
    None where the folder has no such scores."""
    file = folder / SCORES["validation"]
    if not file.is_file():
        return None
    tracks, prob_BK = read_scores(file, classes)
    return encode_labels(tracks["label"], classes, multilabel), prob_BK
