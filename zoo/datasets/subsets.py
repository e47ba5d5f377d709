"""Fewer tracks than there are: without some genres, and with few training tracks."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from zoo.datasets.base import Manifest, labels_of
from zoo.datasets.splits import check_classes
from zoo.errors import InputError, nearest


def without(manifest: Manifest, genres: Iterable[str]) -> Manifest:
    """Return the manifest without some classes and all tracks that are of them, among others too.

    Raises `InputError` for a class that is not there, and where too little is left.
    """
    left_out = sorted({*map(str, genres)})
    key = f"dataset.held_out=[{', '.join(left_out)}]"
    for name in left_out:
        if name not in manifest.classes:
            close = nearest(name, manifest.classes)
            raise InputError(f"{key}: {manifest.where} has no genre {name!r}; {close}")
    classes = tuple(name for name in manifest.classes if name not in left_out)
    labels = labels_of(manifest.frame)
    kept = ~manifest.frame.index.isin(labels.index[labels.isin(left_out)])
    emptied = set(manifest.frame["split"]) - set(manifest.frame["split"][kept])
    if len(classes) < 2 or emptied:
        left = f"{len(classes)} of {len(manifest.classes)} genres"
        nothing = f" and no track in split {min(emptied)}" if emptied else ""
        raise InputError(
            f"{key} leaves {left}{nothing} of {manifest.where}; hold out fewer, so that two or "
            "more remain to be told apart in every split."
        )
    name = f"{manifest.split_name}, without {', '.join(left_out)}"
    done = replace(
        manifest, frame=manifest.frame[kept], classes=classes, multilabel=manifest.multilabel
    )
    check_classes(done)
    return replace(done, split_name=name)


def with_share(manifest: Manifest, share: float, seed: int) -> Manifest:
    """Return the manifest with a share (above 0, at most 1) of the training tracks of each class
    only, one at least; a smaller share is part of a larger one of the same seed."""
    if share == 1:
        return manifest
    totals = _targets(manifest.split("train")).sum(axis=0)
    most = np.maximum(np.rint(share * totals), 1).astype(np.int64)
    return _training_on(manifest, most, seed, f"{100 * share:g} % of training, seed {seed}")


def with_shots(manifest: Manifest, shots: int, seed: int) -> Manifest:
    """Return the manifest with so many training tracks of each class only, and none without a
    label.

    Raises `InputError` where a class has fewer.
    """
    totals = _targets(manifest.split("train"))[:, :-1].sum(axis=0)
    if totals.min() < shots:
        name, most = manifest.classes[int(totals.argmin())], int(totals.min())
        advice = f"give {most} or fewer" if most else "add some"
        raise InputError(
            f"dataset.shots={shots}: {manifest.where} has {most} training tracks of {name}; "
            f"{advice}."
        )
    numbers = np.append(np.full(len(totals), shots), 0)
    return _training_on(manifest, numbers, seed, f"{shots} shots of seed {seed}")


def _targets(manifest: Manifest) -> np.ndarray:
    """Return zeros and ones `[B,K+1]`; the last column is of the tracks without a label."""
    targets = manifest.targets()
    if targets.ndim == 1:
        targets = np.eye(len(manifest.classes), dtype=np.int64)[targets]
    return np.column_stack([targets, targets.sum(axis=1) == 0])


def _training_on(manifest: Manifest, most_K: np.ndarray, seed: int, name: str) -> Manifest:
    """Keep of the training tracks those that are among the first so many of one of their classes,
    in the order of hashes of their names."""
    training = manifest.split("train")
    tracks = training.frame["track"].to_numpy(object)
    order = np.argsort([hashlib.sha256(f"{seed}/{track}".encode()).hexdigest() for track in tracks])
    targets_BK = _targets(training)[order]
    is_drawn = ((targets_BK > 0) & (targets_BK.cumsum(axis=0) <= most_K)).any(axis=1)
    is_other = manifest.frame["split"] != "train"
    kept = is_other | manifest.frame["track"].isin(tracks[order[is_drawn]])
    return replace(manifest.select(kept), split_name=f"{manifest.split_name}, {name}")
