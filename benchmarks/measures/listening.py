"""`listening`: what a model trained on `synth` listens to.

Some test tracks (of each genre by each artist the first that is no hybrid) are scored as they are,
and with exactly one thing changed (`benchmarks.variations`). A row a version: track, artist, label,
change (`original`: none), expected (the genre that the version is), lure (the genre whose typical
kit it got, if it did), and `p:<class>`.
"""

import numpy as np
import pandas as pd

from benchmarks import variations
from zoo.datasets import synth
from zoo.errors import InputError
from zoo.opened import Opened
from zoo.prepare import Data, cache_folder, decode_tracks
from zoo.scores import score_tracks

ORIGINAL = "original"


def measure(run: Opened) -> pd.DataFrame:
    """Return a row for each version of each track.

    Raises `InputError` for a run on other data, of which nobody knows what makes a genre.
    """
    dataset = run.config.dataset
    if dataset._target_ != "zoo.datasets.synth.load":
        raise InputError(
            f"{run.folder} was trained on {run.result.protocol.dataset}; what a model listens to "
            "is measured of runs with dataset=synth, whose pieces can be composed again."
        )
    frame = run.data.manifest.frame
    frame = frame[(frame["split"] == "test") & (frame["hybrid"] == "")]
    frame = frame.groupby(["artist", "label"]).head(1)
    tracks = [
        synth.compose(artist, label, int(track.rpartition("_")[2]))
        for artist, label, track in zip(*map(frame.get, ("artist", "label", "track")), strict=True)
    ]
    versions = variations.load(cache_folder(run.config), tracks, dataset.seconds)
    changed = decode_tracks(versions, run.config, run.model.sample_rate)
    table = changed.manifest.frame.assign(track=changed.manifest.frame["original"])
    labels = table["track"].map(frame.set_index("track")["label"])
    table = table.assign(expected=table["label"], label=labels)
    original = frame.assign(change=ORIGINAL, expected=frame["label"], lure="")
    columns = ["track", "artist", "label", "change", "expected", "lure"]
    return pd.concat(
        [
            _with_scores(run, original[columns], run.data, frame.index.to_numpy()),
            _with_scores(run, table[columns], changed, np.arange(len(table))),
        ],
        ignore_index=True,
    )


def _with_scores(run: Opened, table: pd.DataFrame, data: Data, rows: np.ndarray) -> pd.DataFrame:
    scores = score_tracks(run.model, data, rows, run.accelerator, run.config, "listening")
    columns = [f"p:{name}" for name in run.model.config.classes]
    return table.assign(**dict(zip(columns, scores.T, strict=True)))
