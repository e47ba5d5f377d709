"""What a row says when it is opened: genres, confusions, curves, and how it was made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.standings import Entry
from leaderboard.command import command_of
from leaderboard.kept import read_log
from zoo.datasets.base import encode_labels
from zoo.metrics import confusion
from zoo.pooling import Pooled, Run
from zoo.results import SCORES, read_scores

MOST_CONFUSED = 5
CURVES = ("train_loss", "validation_accuracy", "validation_macro_average_precision")


def details(entry: Entry) -> dict[str, Any]:
    """Return all that the page shows of an opened row, ready for JSON."""
    first = entry.runs[0].result
    single = not first.protocol.multilabel
    return {
        "command": command_of(first.config),
        "config": yaml.safe_dump(first.config, sort_keys=False),
        "seeds": [seed.runs[0].result.seed for seed in entry.seeds],
        "metrics": _metrics(entry),
        "versions": ", ".join(f"{name} {v}" for name, v in first.versions.items()),
        "hardware": hardware_of(entry.runs),
        "curves": [point for run in entry.runs for point in _curve(run)],
        "genres": genres(entry) if single else [],
        "confusion": confusions(entry).tolist() if single else [],
        "warnings": sorted(
            {w.sentence for r in entry.runs if r.result.audit for w in r.result.audit.warnings}
        ),
    }


def hardware_of(runs: Sequence[Run]) -> str:
    """Return what the runs were trained on."""
    places: dict[str, None] = {}
    for run in runs:
        h = run.result.hardware
        device = "" if h.device == "cpu" else f"{h.num_processes} of {h.device}, "
        threads = run.result.threads
        where = f"{device}{h.processor}, {h.num_cores} cores, {threads} thread{'s' * (threads > 1)}"
        places[f"{where}, {run.result.precision}"] = None
    return "; ".join(places)


def _metrics(entry: Entry) -> list[dict[str, Any]]:
    table = pd.DataFrame([seed.metrics for seed in entry.seeds])
    return [
        {
            "metric": str(name).replace("_", " "),
            "mean": _short(values.mean()),
            "deviation": _short(values.std()) if len(values) > 1 else None,
        }
        for name, values in table.items()
    ]


def _curve(run: Run) -> list[dict[str, Any]]:
    """Return the points of a run's curves."""
    log, fold = read_log(run.folder), run.result.protocol.fold
    series = f"seed {run.result.seed}" + ("" if fold is None else f", fold {fold}")
    return [
        {
            "series": series,
            "figure": name.replace("_", " "),
            "epoch": int(epoch),
            "value": _short(value),
        }
        for name in CURVES
        if name in log
        for epoch, value in zip(log["epoch"], log[name], strict=True)
        if np.isfinite(value)
    ]


def confusions(entry: Entry) -> np.ndarray:
    """Return how often each genre (row) was taken for each (column), summed over seeds `[K,K]`."""
    num_classes = len(entry.runs[0].result.protocol.classes)
    pairs = [guesses(seed) for seed in entry.seeds]
    tables = [confusion(target_B, guess_B, num_classes) for _, target_B, guess_B in pairs]
    return np.sum(tables, axis=0)


def guesses(pooled: Pooled) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Return the test tracks by name, and of each its class `[B]` and the most probable one."""
    protocol = pooled.runs[0].result.protocol
    parts = [read_scores(run.folder / SCORES["test"], protocol.classes) for run in pooled.runs]
    tracks = pd.concat([part for part, _ in parts], ignore_index=True)
    order = np.argsort(tracks["track"].to_numpy(str), kind="stable")
    guess_B = np.concatenate([scores.argmax(1) for _, scores in parts])[order]
    tracks = tracks.iloc[order]
    return tracks["track"], encode_labels(tracks["label"], protocol.classes, False), guess_B


def genres(entry: Entry) -> list[dict[str, Any]]:
    """Return recall, precision and F1 of each genre over all seeds, and its number of tracks."""
    counts_KK = confusions(entry)
    hits_K, true_K, taken_K = counts_KK.diagonal(), counts_KK.sum(1), counts_KK.sum(0)
    return [
        {
            "genre": name,
            "tracks": int(true_K[k] / len(entry.seeds)),
            "recall": _ratio(hits_K[k], true_K[k]),
            "precision": _ratio(hits_K[k], taken_K[k]),
            "f1": _ratio(2 * hits_K[k], true_K[k] + taken_K[k]),
        }
        for k, name in enumerate(entry.runs[0].result.protocol.classes)
    ]


def most_confused(entry: Entry) -> str:
    """Return in words which genres are taken for which most often."""
    classes = entry.runs[0].result.protocol.classes
    counts_KK = confusions(entry)
    true_K = counts_KK.sum(1)
    np.fill_diagonal(counts_KK, 0)
    order = np.argsort(-counts_KK, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [np.unravel_index(place, counts_KK.shape) for place in order]
    said = [
        f"{classes[a]} is taken for {classes[b]} ({counts_KK[a, b] / true_K[a]:.0%} of the time)"
        for a, b in pairs
        if counts_KK[a, b]
    ]
    return f"{entry.name} confuses most often: {', '.join(said)}." if said else ""


def _ratio(part: float, whole: float) -> float | None:
    return _short(part / whole) if whole else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
