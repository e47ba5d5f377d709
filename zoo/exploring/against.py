"""How a library differs from the tracks that a model was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from zoo.config import assign, compose
from zoo.errors import InputError
from zoo.exploring import answers, space
from zoo.exploring.measures import MEASURES
from zoo.exploring.sample import Sample, take
from zoo.prepare import load_manifest
from zoo.results import Result, read_result

NOT_SOUND = ("seconds",)  # of the measures: how long a track is, no model hears


@dataclass(frozen=True)
class Against:
    """What the comparison with a run shows; None for what could not be looked at."""

    run: str
    unknown: list[str]  # classes of the library that the model does not have
    absent: list[str]  # classes of the model that the library does not have
    notes: list[str]  # sentences about what could not be looked at
    trained: Sample | None = None  # a sample of the tracks trained on
    auc: float | None = None
    shifts: pd.DataFrame | None = None  # measure, library, trained, deviations
    sure: dict[str, np.ndarray] | None = None  # whose tracks -> probability of the best class


def training_tracks(run: Path, result: Result) -> pd.DataFrame:
    """Return the tracks that a run was trained on. Raises `InputError` where they are gone."""
    defaults: Any = OmegaConf.to_container(compose("train"))
    manifest = load_manifest(assign({**defaults, **result.config}, []))
    try:
        listed = pd.read_csv(run / "split.csv", dtype=str, keep_default_na=False)
        names = listed["track"][listed["split"] == "train"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{run / 'split.csv'} cannot be read: {error}.") from error
    frame = manifest.frame[manifest.frame["track"].isin(names)]
    if frame.empty:
        raise InputError(f"{run} was trained on tracks that {manifest.where} does not have.")
    return frame.reset_index(drop=True)


def compare(
    run: Path, classes: tuple[str, ...], sample: Sample, most: int, workers: int | None
) -> Against:
    """Compare a library's sample with a run's training tracks, and hear it with the run's model.

    Raises `InputError` for what is no run.
    """
    result = read_result(run)
    known, notes = result.protocol.classes, []
    trained = auc = shifts = sure = None
    try:
        tracks = training_tracks(run, result)
        trained = take(tracks, most, workers, "measuring what the model learned from")
    except InputError as error:
        notes.append(f"The tracks that it was trained on cannot be measured: {error}")
    else:
        shifts = differences(sample.tracks, trained.tracks)
        if min(len(sample.tracks), len(trained.tracks)) >= space.FOLDS:
            hashes = np.concatenate([sample.tracks["hash"], trained.tracks["hash"]])
            auc = space.separability(_sound(sample), _sound(trained), hashes)
    try:
        sure = _sureness(run, result, sample, workers)
    except InputError as error:
        notes.append(f"Its answers cannot be looked at: {error}")
    unknown = [name for name in classes if name not in known]
    absent = [name for name in known if name not in classes]
    return Against(str(run), unknown, absent, notes, trained, auc, shifts, sure)


def _sureness(
    run: Path, result: Result, sample: Sample, workers: int | None
) -> dict[str, np.ndarray]:
    said = answers.answers(str(run), tuple(sample.tracks["path"]), workers)
    before = answers.on_validation(run, result, said.about)
    own = {} if before is None else {"its validation tracks": before}
    return {**own, "this library": said.sureness}


def differences(library: pd.DataFrame, trained: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each measure and their difference in pooled standard deviations (Cohen
    1988, d), the largest first."""
    rows = []
    for name in MEASURES:
        a, b = library[name].dropna(), trained[name].dropna()
        if len(a) > 1 and len(b) > 1:
            pooled = np.sqrt(
                (a.var() * (len(a) - 1) + b.var() * (len(b) - 1)) / (len(a) + len(b) - 2)
            )
            apart = (a.mean() - b.mean()) / pooled if pooled > 0 else 0.0
            rows.append((name, a.mean(), b.mean(), apart))
    table = pd.DataFrame(rows, columns=["measure", "library", "trained", "deviations"])
    return table.sort_values("deviations", key=abs, ascending=False, ignore_index=True)


def _sound(sample: Sample) -> np.ndarray:
    """Return the features and the measures of sound `[B,D]`; the mean where there is none."""
    measures = sample.tracks[[name for name in MEASURES if name not in NOT_SOUND]]
    return np.column_stack([sample.features_BD, measures.fillna(measures.mean()).fillna(0)])
