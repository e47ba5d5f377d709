"""`split=artist|group|random|planted`: another split in the place of the data set's own.

They show what a leak is worth, because their sizes are equal: `random` takes those of `artist`,
class by class, and `planted` is `artist` with copies of test tracks in training.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from zoo.datasets.base import Manifest
from zoo.datasets.planting import digest, plant
from zoo.datasets.splits import check_classes, with_splits
from zoo.errors import InputError, check_choice

KINDS = ("artist", "group", "random", "planted")


def resplit(
    manifest: Manifest,
    kind: str,
    folds: int | None,
    fold: int,
    seed: int,
    planted: float,
    cache: Path,
) -> Manifest:
    """Return the tracks that the data set's split has, in a split or fold of that kind.

    - `artist`: artists are kept apart; for one that is unknown the group stands, else the track;
    - `group`: groups are kept apart, tracks where there is none;
    - `random`: tracks at random, as many of each class in each split as `artist` (else `group`)
      has; with several labels a track, as many in all;
    - `planted`: `artist` (else `group`, else single tracks), and of the share `planted` of the test
      tracks an altered copy in the place of a training track of the class.

    Raises `InputError` for another kind, and where the data set has no artists or groups.
    """
    check_choice("split", kind, KINDS)
    frame = manifest.frame.drop(columns="fold", errors="ignore")
    if (frame["split"] != "").any():
        frame = frame[frame["split"] != ""]
    bare = replace(manifest, frame=frame.assign(split=""), split_name="", fold=None)
    if kind in ("artist", "group"):
        _check_has(bare, kind)
    if kind == "group":
        alone = replace(bare, frame=bare.frame.assign(artist=""))
        made = with_splits(alone, folds, fold, seed)
        return replace(made, frame=made.frame.assign(artist=bare.frame["artist"]))
    base = with_splits(bare, folds, fold, seed)
    if kind == "random":
        return _shuffled(base, seed)
    return plant(base, planted, seed, cache) if kind == "planted" else base


def _check_has(manifest: Manifest, kind: str) -> None:
    if manifest.frame[kind].any():
        return
    other = {"artist": "group", "group": "artist"}[kind]
    has = f"{other}s: split={other}" if manifest.frame[other].any() else "neither: split=random"
    raise InputError(f"split={kind}: {manifest.where} names no {kind}s; it has {has}.")


def _shuffled(base: Manifest, seed: int) -> Manifest:
    """Give each track the split of another of its class, folds of one seed by one permutation."""
    frame = base.frame
    classes = frame["label"] if not base.multilabel else pd.Series("", frame.index)
    rank = frame["track"].map(lambda track: digest(seed, track))
    split = pd.Series("", frame.index)
    for _, tracks in frame.groupby(classes.to_numpy())["track"]:
        drawn, places = rank[tracks.index].sort_values().index, tracks.sort_values().index
        split[drawn] = frame["split"][places].to_numpy()
    _, _, rest = base.split_name.partition("-")
    made = replace(base, frame=frame.assign(split=split), split_name=f"random-{rest}")
    check_classes(made)
    return made
