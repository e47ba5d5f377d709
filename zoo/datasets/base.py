"""`Manifest`: who plays, what label, which split; and how a split is made where none is given."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from zoo.errors import InputError, nearest

SPLITS = ("train", "validation", "test")
SPLIT_ALIASES = {
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
IDENTITY = ("track", "path", "label", "split", "artist", "group")
TEST_FOLDS = 5  # without folds of the user's, a fifth of the tracks is for the test
VALIDATION_FOLDS = 8  # of the rest, an eighth is for validation: 70 / 10 / 20 % in all


@dataclass(frozen=True)
class Manifest:
    """A validated table of tracks: `track` (unique), `path`, `label` (several joined by `|`),
    `split` (train, validation, test, or empty: not assigned), `artist` and `group` (may be empty),
    and whatever else the data set offers.

    `source` is the file or folder that messages name. Raises `InputError` for tables that no
    model can be trained on.
    """

    name: str
    frame: pd.DataFrame
    source: str = ""
    split_name: str = "given"
    fold: int | None = None
    contrasts: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # pairs to tell apart
    licence: str = ""
    citation: str = ""
    classes: tuple[str, ...] = ()  # sorted; derived from the labels unless given
    multilabel: bool | None = None  # derived likewise

    def __post_init__(self) -> None:
        frame = self.frame.reset_index(drop=True)
        for column in IDENTITY:
            values = frame[column] if column in frame else pd.Series("", index=frame.index)
            frame[column] = values.fillna("").astype(str).str.strip()
        self._check(frame)
        object.__setattr__(self, "frame", frame)
        if not self.classes:
            parts = frame["label"].str.split("|").explode().str.strip()
            object.__setattr__(self, "classes", tuple(sorted(set(parts) - {""})))
            object.__setattr__(
                self, "multilabel", bool(frame["label"].str.contains("|", regex=False).any())
            )

    def _check(self, frame: pd.DataFrame) -> None:
        where = self.source or self.name
        if frame.empty:
            raise InputError(f"{where} has no tracks.")
        unlabelled = frame["track"][frame["label"] == ""]
        if len(unlabelled):
            raise InputError(f"{where}: track {unlabelled.iloc[0]} has no label; each needs one.")
        twice = frame["track"][frame["track"].duplicated()]
        if len(twice):
            raise InputError(f"{where}: track {twice.iloc[0]} is there twice; names must differ.")
        frame["split"] = frame["split"].replace(SPLIT_ALIASES)
        unknown = set(frame["split"]) - {"", *SPLITS}
        if unknown:
            name = sorted(unknown)[0]
            raise InputError(f"{where}: split {name!r} is unknown; {nearest(name, SPLITS)}")

    @cached_property
    def units(self) -> pd.Series:
        """What must not cross a split: the artist, else the group, else the track."""
        frame = self.frame
        prefixed = {c: c + ":" + frame[c] for c in ("artist", "group", "track")}
        other = prefixed["group"].where(frame["group"] != "", prefixed["track"])
        return prefixed["artist"].where(frame["artist"] != "", other)

    def targets(self) -> np.ndarray:
        """Return class indices `[B]`, or zeros and ones `[B,K]` for several labels."""
        return encode_labels(self.frame["label"], self.classes, bool(self.multilabel))

    def select(self, keep: np.ndarray | pd.Series) -> "Manifest":
        """Return the tracks for which `keep` is true; the classes stay."""
        return replace(self, frame=self.frame[np.asarray(keep)])

    def split(self, name: str) -> "Manifest":
        """Return the tracks of one split."""
        return self.select(self.frame["split"] == name)

    def fingerprint(self) -> str:
        """Return a hash of the tracks and their labels, whatever their order."""
        lines = sorted(self.frame["track"] + "\t" + self.frame["label"])
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def encode_labels(labels: pd.Series, classes: Sequence[str], multilabel: bool) -> np.ndarray:
    """Return class indices `[B]`, or for several labels, joined by `|`, zeros and ones `[B,K]`."""
    index = {name: i for i, name in enumerate(classes)}
    if not multilabel:
        return labels.map(index).to_numpy(np.int64)
    targets = np.zeros((len(labels), len(classes)), np.int64)
    for row, label in enumerate(labels):
        targets[row, [index[part.strip()] for part in label.split("|")]] = 1
    return targets


def assign_folds(manifest: Manifest, num_folds: int, seed: int) -> np.ndarray:
    """Return a fold in `[0, num_folds)` for each track, stratified by label, units kept whole.

    Units go one after the other, the largest first, to the fold that holds least of their labels.
    Integers and hashes only: the same on every machine. Raises `InputError` where there are fewer
    units than folds.
    """
    targets = manifest.targets()
    onehot = (
        targets if targets.ndim == 2 else np.eye(len(manifest.classes), dtype=np.int64)[targets]
    )
    counts = pd.DataFrame(onehot).groupby(manifest.units.to_numpy()).sum()
    if len(counts) < num_folds:
        raise InputError(
            f"{manifest.source or manifest.name}: {len(counts)} independent units (artists, groups "
            f"or tracks) cannot make {num_folds} folds; give a split column, or fewer folds."
        )
    rank = [hashlib.sha256(f"{seed}/{unit}".encode()).hexdigest() for unit in counts.index]
    rows = counts.to_numpy()
    order = sorted(range(len(rows)), key=lambda i: (-rows[i].sum(), rank[i]))
    weights = 10**9 // np.maximum(rows.sum(axis=0), 1)  # integers: exact, in any order of summing
    load = np.zeros((num_folds, rows.shape[1]), np.int64)
    fold_of = {}
    for i in order:
        fold = int(((load * weights) * rows[i]).sum(axis=1).argmin())
        load[fold] += rows[i]
        fold_of[counts.index[i]] = fold
    return manifest.units.map(fold_of).to_numpy()


def with_splits(manifest: Manifest, folds: int | None, fold: int, seed: int) -> Manifest:
    """Return the manifest with every track in a split.

    The given split is kept (and a validation split taken from its training tracks if it has
    none), unless `folds` asks for others: then `fold` is the test, and the validation tracks come
    from the rest. Without a given split, the first of five folds is the test. Tracks without a
    split beside others that have one are left out.
    """
    _check_classes(manifest)
    given = set(manifest.frame["split"]) - {""}
    if given and folds is None:
        kept = manifest.select(manifest.frame["split"] != "")
        for name in {"train", "test"} - given:
            raise InputError(f"{manifest.source or manifest.name} has no track in split {name}.")
        done = kept if "validation" in given else _take_validation(kept, seed)
    else:
        num_folds = folds or TEST_FOLDS
        if not 0 <= fold < num_folds or num_folds < 2:
            raise InputError(f"dataset.fold={fold} must be one of 0 to {max(num_folds, 2) - 1}.")
        test = assign_folds(manifest, num_folds, seed) == fold
        frame = manifest.frame.assign(split=np.where(test, "test", "train"))
        by = "artist" if manifest.frame["artist"].any() else "group"
        by = by if manifest.frame[by].any() else "track"
        name = f"{by}-seed{seed}" if folds is None else f"{by}-{folds}fold-seed{seed}"
        made = replace(manifest, frame=frame, split_name=name, fold=fold if folds else None)
        done = _take_validation(made, seed)
    _check_classes(done)
    return done


def _take_validation(manifest: Manifest, seed: int) -> Manifest:
    train = (manifest.frame["split"] == "train").to_numpy()
    chosen = np.zeros(len(train), bool)
    chosen[train] = assign_folds(manifest.select(train), VALIDATION_FOLDS, seed) == 0
    return replace(
        manifest,
        frame=manifest.frame.assign(split=manifest.frame["split"].mask(chosen, "validation")),
    )


def _check_classes(manifest: Manifest) -> None:
    where = manifest.source or manifest.name
    if len(manifest.classes) < 2:
        raise InputError(
            f"{where} has one class only ({manifest.classes[0]}); "
            "telling genres apart takes two or more."
        )

    def labels(name: str) -> set[str]:
        return set(manifest.split(name).frame["label"].str.split("|").explode().str.strip())

    missing = labels("test") - labels("train")
    if missing:
        raise InputError(
            f"{where}: {', '.join(sorted(missing))} is in the test split "
            "but has no training track; each class needs tracks (of several artists) in both."
        )


Loader = Callable[..., Manifest]
