"""The result of a run: its schema, and how results are pooled and ranked. Imports no torch."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.metrics import PRIMARY, evaluate, pair_accuracy

SCHEMA = 1
FILE = "result.json"
SCORES = {"test": "scores.parquet", "validation": "scores_validation.parquet"}
IDENTITY = ("track", "label", "artist", "group")  # columns of the scores beside `p:<class>`
TOLERANCE = 1e-6  # between a run's metric and what its scores give
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
    licence: str | None = None  # of the checkpoint that training started from, as it states it
    audit: Audited | None = None  # None: of a run before there were audits

    @property
    def primary(self) -> str:
        """The metric that ranks."""
        return PRIMARY[self.protocol.multilabel]


@dataclass(frozen=True)
class Run:
    """A run's folder and what its result.json says."""

    folder: Path
    result: Result

    @property
    def experiment(self) -> str:
        """What the folds of one recipe and seed have in common, and other runs have not."""
        protocol = self.result.protocol
        by_fold = {"train_fingerprint", "test_fingerprint"} if protocol.fold is not None else set()
        shared = protocol.model_dump(exclude={"contrasts", "fold"} | by_fold)
        return json.dumps([shared, self.result.recipe, self.result.seed], sort_keys=True)


@dataclass(frozen=True)
class Pooled:
    """One recipe and seed: its folds' test tracks measured together."""

    runs: tuple[Run, ...]  # by fold
    num_tracks: int
    metrics: dict[str, float]
    contrasts: dict[str, float]  # see `contrast_accuracy`

    @property
    def group(self) -> str:
        """A hash of data, split, folds and evaluation: only equals may be ranked together."""
        protocols = [run.result.protocol.model_dump(exclude={"contrasts"}) for run in self.runs]
        lines = sorted(json.dumps(protocol, sort_keys=True) for protocol in protocols)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


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


def pooled_scores(folders: Sequence[Path], protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities of the test tracks of several runs (folds), one after
    the other, from their score tables alone. Raises `InputError` where folds share a track."""
    files = [folder / SCORES["test"] for folder in folders]
    parts = [read_scores(file, protocol.classes) for file in files]
    tracks = _manifest(pd.concat([tracks for tracks, _ in parts]), files, protocol)
    return tracks.targets(), np.concatenate([probabilities for _, probabilities in parts])


def _manifest(tracks: pd.DataFrame, files: Sequence[Path], protocol: Protocol) -> Manifest:
    return Manifest(
        protocol.dataset,
        tracks,
        source=", ".join(map(str, files)),
        classes=tuple(protocol.classes),
        multilabel=protocol.multilabel,
    )


def contrast_accuracy(folders: Sequence[Path], protocol: Protocol) -> dict[str, float]:
    """Return how well each of the protocol's pairs of classes is told apart; 0.5 is chance.

    Empty where tracks have several labels: no pair is asked for there.
    """
    if not protocol.contrasts or protocol.multilabel:
        return {}
    pairs = pair_accuracy(*pooled_scores(folders, protocol))
    place = {name: i for i, name in enumerate(protocol.classes)}
    pairs_by = {by: ab for by, ab in protocol.contrasts.items() if place.keys() >= set(ab)}
    return {by: float(pairs[place[a], place[b]]) for by, (a, b) in pairs_by.items()}


def pool(folders: Iterable[Path], report: Callable[[str], None]) -> list[Pooled]:
    """Return what the valid runs give, pooled over folds: one entry for each recipe and seed.

    Of runs of the same recipe, seed and fold the newest counts. `report` is told what is left
    out, and why. Each folder holds a result.json.
    """
    experiments: dict[str, dict[int | None, Run]] = {}
    for folder in sorted(folders, key=lambda folder: (folder / FILE).stat().st_mtime):
        try:
            run = checked_run(folder)
        except ValueError as error:
            report(f"{folder} is left out: {error}")
            continue
        folds, fold = experiments.setdefault(run.experiment, {}), run.result.protocol.fold
        if fold in folds:
            same = "is of the same recipe, seed and fold, and newer."
            report(f"{folds[fold].folder} is left out: {folder} {same}")
        folds[fold] = run
    pooled: list[Pooled] = []
    for folds in experiments.values():
        try:
            pooled.append(
                _measure([folds[fold] for fold in sorted(folds, key=lambda fold: fold or 0)])
            )
        except InputError as error:
            report(f"{', '.join(str(run.folder) for run in folds.values())} are left out: {error}")
    return pooled


def checked_run(folder: Path) -> Run:
    """Read a run. Raises ValueError for scores that cannot be measured, `InputError` for those that
    are not of the tracks, or do not give the primary metric, that result.json names."""
    run = Run(folder, read_result(folder))
    result, file = run.result, folder / SCORES["test"]
    tracks, _ = read_scores(file, result.protocol.classes)
    manifest = _manifest(tracks, [file], result.protocol)
    if manifest.fingerprint() != result.protocol.test_fingerprint:
        raise InputError(f"{file} holds other tracks or labels than those that {FILE} names.")
    computed = _measure([run]).metrics.get(result.primary, np.nan)
    stored = result.metrics.get("test", {}).get(result.primary, np.nan)
    if not abs(stored - computed) <= TOLERANCE:
        raise InputError(
            f"{folder / FILE} says test {result.primary} {stored:.6f}, "
            f"but {file.name} beside it gives {computed:.6f}."
        )
    return run


def _measure(runs: Sequence[Run]) -> Pooled:
    folders, protocol = [run.folder for run in runs], runs[0].result.protocol
    targets, probabilities = pooled_scores(folders, protocol)
    metrics = evaluate(targets, probabilities, protocol.multilabel)
    return Pooled(tuple(runs), len(targets), metrics, contrast_accuracy(folders, protocol))
