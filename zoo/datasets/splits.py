"""Splits and folds where none are given: stratified, artists kept apart, the same everywhere."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd

from zoo.datasets.base import Manifest, labels_of
from zoo.errors import InputError

TEST_FOLDS = 5  # without folds of the user's, a fifth of the tracks is for the test
VALIDATION_FOLDS = 8  # of the rest, an eighth is for validation: 70 / 10 / 20 % in all


def assign_folds(manifest: Manifest, num_folds: int, seed: int) -> np.ndarray:
    """Return a fold in `[0, num_folds)` for each track, stratified by label, units kept whole.

    Units go one after the other, the largest first, to the first fold that has none of their
    labels, else to the one that has least, among equals to the smallest. Integers and hashes only:
    the same on every machine, in whatever order the tracks are listed. Raises `InputError` where
    there are fewer units than folds.
    """
    targets = manifest.targets()
    if targets.ndim == 1:
        targets = np.eye(len(manifest.classes), dtype=np.int64)[targets]
    bare = targets.sum(axis=1) == 0  # tracks without a label are a class of their own
    targets = np.column_stack([targets, bare])
    counts = pd.DataFrame(targets).groupby(manifest.units.to_numpy()).sum()
    if len(counts) < num_folds:
        raise InputError(
            f"{manifest.where}: {len(counts)} independent units (artists, groups or tracks) cannot "
            f"make {num_folds} folds; give a split column, or fewer folds."
        )
    rank = [hashlib.sha256(f"{seed}/{unit}".encode()).hexdigest() for unit in counts.index]
    rows = counts.to_numpy()
    order = sorted(range(len(rows)), key=lambda i: (-rows[i].sum(), rank[i]))
    weights = 10**9 // np.maximum(rows.sum(axis=0), 1)  # integers: exact, in any order of summing
    load = np.zeros((num_folds, rows.shape[1]), np.int64)  # weighted
    sizes, fold_of = np.zeros(num_folds, np.int64), {}
    for i in order:
        cost = load @ rows[i]
        least = np.flatnonzero(cost == cost.min())
        fold = int(least[sizes[least].argmin()] if cost.min() else least[0])
        load[fold] += rows[i] * weights
        sizes[fold] += rows[i].sum()
        fold_of[counts.index[i]] = fold
    return manifest.units.map(fold_of).to_numpy()


def with_splits(manifest: Manifest, folds: int | None, fold: int, seed: int) -> Manifest:
    """Return the manifest with every track in a split.

    The given split is kept (and a validation split taken from its training tracks if it has
    none), unless `folds` asks for others: then `fold` is the test, and the validation tracks come
    from the rest. A column `fold` gives the folds where there is no split. Without either, one of
    five folds is the test. Tracks without a split beside others that have one are left out. Raises
    `InputError` where tracks, classes or artists are too few for that.
    """
    if len(manifest.classes) < 2:
        raise InputError(
            f"{manifest.where} has one class only ({manifest.classes[0]}); "
            "telling genres apart takes two or more."
        )
    given = set(manifest.frame["split"]) - {""}
    is_folded = folds is None and not given and "fold" in manifest.frame
    if folds is None and fold and not is_folded:
        raise InputError(f"dataset.fold={fold} needs dataset.folds, the number of folds to make.")
    if is_folded:
        done = _take_stored(manifest, fold)
    elif folds is not None or not given:
        done = _take_test(manifest, folds, fold, seed)
    else:
        for name in sorted({"train", "test"} - given):
            raise InputError(
                f"{manifest.where} has no track in split {name}; "
                "add some, or ask for splits of its tracks with dataset.folds=5."
            )
        done = manifest.select(manifest.frame["split"] != "")
    if not (done.frame["split"] == "validation").any():
        done = _take_validation(done, seed)
    check_classes(done)
    return done


def check_classes(manifest: Manifest) -> None:
    """Raise `InputError` where a class is in the test split but not in the training split."""
    split = manifest.frame["split"]
    labels = {name: set(part) for name, part in labels_of(manifest.frame).groupby(split)}
    missing = labels.get("test", set()) - labels.get("train", set())
    if missing:
        raise InputError(
            f"{manifest.where}: class {min(missing)} is in the test split but has no training "
            "track; each class needs tracks (of several artists) in both."
        )


def _take_test(manifest: Manifest, folds: int | None, fold: int, seed: int) -> Manifest:
    num_folds = TEST_FOLDS if folds is None else folds
    if not 0 <= fold < num_folds:
        raise InputError(f"dataset.fold={fold} must be one of 0 to {num_folds - 1}.")
    _check_units(manifest, folds)
    assigned = assign_folds(manifest, num_folds, seed)
    test = assigned == (_fairest(manifest, assigned) if folds is None else fold)
    by = next((c for c in ("artist", "group") if manifest.frame[c].any()), "track")
    return replace(
        manifest,
        frame=manifest.frame.assign(split=np.where(test, "test", "train")),
        split_name=f"{by}-seed{seed}" if folds is None else f"{by}-{folds}fold-seed{seed}",
        fold=None if folds is None else fold,
    )


def _take_stored(manifest: Manifest, fold: int) -> Manifest:
    """Take one of the folds that the data set's own column `fold` names for the test, the next one
    for validation; tracks without one are for training only."""
    stored = manifest.frame["fold"].astype(str).fillna("")
    names = sorted(set(stored) - {""}, key=lambda name: (len(name), name))
    if not 0 <= fold < len(names):
        raise InputError(f"dataset.fold={fold} must be one of 0 to {len(names) - 1}.")
    chosen = {names[fold]: "test", names[(fold + 1) % len(names)]: "validation"}
    split = stored.map(chosen).fillna("train")
    return replace(manifest, frame=manifest.frame.assign(split=split), fold=fold)


def _fairest(manifest: Manifest, assigned: np.ndarray) -> int:
    """Return the fold of about its share of the tracks, among those that hold most classes."""
    labels, sizes = labels_of(manifest.frame), np.bincount(assigned[assigned >= 0])
    held = [labels[assigned[labels.index] == i].nunique() for i in range(len(sizes))]
    off = abs(sizes * len(sizes) - len(assigned))
    return min(range(len(sizes)), key=lambda i: (-held[i], off[i]))


def _check_units(manifest: Manifest, folds: int | None) -> None:
    """Refuse classes that cannot be in every fold, or not in training and test."""
    labels = labels_of(manifest.frame)
    units = manifest.units.reindex(labels.index).groupby(labels.to_numpy())
    num_units, least = units.nunique(), folds or 2
    if num_units.min() >= least:
        return
    label, num = num_units.idxmin(), num_units.min()
    kind = units.first().to_dict()[label].partition(":")[0] + ("s" if num > 1 else "")
    purpose, other = "in training and in test", "a split column"
    if folds:
        purpose, other = f"in each of {folds} folds", "ask for fewer folds"
    raise InputError(
        f"{manifest.where}: class {label} has {num} {kind} but takes {least} to be {purpose}; "
        f"add some, or {other}."
    )


def _take_validation(manifest: Manifest, seed: int) -> Manifest:
    """Move one of eight folds of the training tracks, but no class whole, to validation."""
    train = manifest.select(manifest.frame["split"] == "train")
    num_folds = max(2, min(VALIDATION_FOLDS, train.units.nunique()))
    assigned = _without_whole_classes(train, assign_folds(train, num_folds, seed))
    if (assigned < 0).all():
        raise InputError(
            f"{manifest.where}: the training tracks are by too few artists (or are too few) to "
            "take some for validation; add some, or a split column with validation."
        )
    chosen = train.units[assigned == _fairest(train, assigned)]
    moved = manifest.units.isin(set(chosen)) & (manifest.frame["split"] == "train")
    split = manifest.frame["split"].mask(moved, "validation")
    return replace(manifest, frame=manifest.frame.assign(split=split))


def _without_whole_classes(manifest: Manifest, assigned: np.ndarray) -> np.ndarray:
    """Return the folds with -1 for units of a class that is in one fold only."""
    labels, units = labels_of(manifest.frame), manifest.units
    folds = pd.Series(assigned, manifest.frame.index)[labels.index]
    alone = folds.groupby(labels.to_numpy()).nunique() == 1
    kept = set(units[labels[labels.isin(alone.index[alone])].index])
    return np.where(units.isin(kept), -1, assigned)
