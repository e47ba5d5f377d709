"""Runs that are checked, and pooled over folds: what rankings are made of. Imports no torch."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.datasets.base import Manifest
from zoo.errors import InputError
from zoo.metrics import evaluate, pair_accuracy
from zoo.results import FILE, SCORES, Protocol, Result, read_result, read_scores

TOLERANCE = 1e-6  # between a run's metric and what its scores give


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
    runs = []
    for folder in sorted(folders, key=lambda folder: (folder / FILE).stat().st_mtime):
        try:
            runs.append(checked_run(folder))
        except ValueError as error:
            report(f"{folder} is left out: {error}")
    return pool_runs(runs, report)


def pool_runs(runs: Iterable[Run], report: Callable[[str], None]) -> list[Pooled]:
    """Return what `pool` does, of runs that were checked; of the like the last counts."""
    experiments: dict[str, dict[int | None, Run]] = {}
    for run in runs:
        folds, fold = experiments.setdefault(run.experiment, {}), run.result.protocol.fold
        if fold in folds:
            same = "is of the same recipe, seed and fold, and newer."
            report(f"{folds[fold].folder} is left out: {run.folder} {same}")
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
    are not of the tracks, or do not give the metrics, that result.json names."""
    run = Run(folder, read_result(folder))
    result, file = run.result, folder / SCORES["test"]
    tracks, _ = read_scores(file, result.protocol.classes)
    manifest = _manifest(tracks, [file], result.protocol)
    if manifest.fingerprint() != result.protocol.test_fingerprint:
        raise InputError(f"{file} holds other tracks or labels than those that {FILE} names.")
    if result.primary not in result.metrics.get("test", {}):
        raise InputError(
            f"{folder / FILE} says no test {result.primary}, by which runs are ranked."
        )
    for split, name in SCORES.items():
        if split == "test" or (folder / name).exists():
            _check_metrics(folder, split, result)
    return run


def _check_metrics(folder: Path, split: str, result: Result) -> None:
    """Raise `InputError` where the scores of a split do not give the metrics that the result says.
    F1 of several labels has thresholds of its own, which the scores alone do not tell."""
    protocol, file = result.protocol, folder / SCORES[split]
    tracks, probabilities = read_scores(file, protocol.classes)
    targets = _manifest(tracks, [file], protocol).targets()
    computed = evaluate(targets, probabilities, protocol.multilabel)
    for name, stored in result.metrics.get(split, {}).items():
        has_thresholds = protocol.multilabel and name.endswith("_f1")
        if (
            name in computed
            and not has_thresholds
            and not abs(stored - computed[name]) <= TOLERANCE
        ):
            raise InputError(
                f"{folder / FILE} says {split} {name} {stored:.6f}, "
                f"but {file.name} beside it gives {computed[name]:.6f}."
            )


def _measure(runs: Sequence[Run]) -> Pooled:
    folders, protocol = [run.folder for run in runs], runs[0].result.protocol
    targets, probabilities = pooled_scores(folders, protocol)
    metrics = evaluate(targets, probabilities, protocol.multilabel)
    return Pooled(tuple(runs), len(targets), metrics, contrast_accuracy(folders, protocol))
