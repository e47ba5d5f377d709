"""`Manifest`: who plays, what label, which split."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from zoo.errors import InputError, nearest

SPLITS = ("train", "validation", "test")
SPLIT_ALIASES = {"training": "train", **dict.fromkeys(("valid", "val", "dev"), "validation")}
IDENTITY = ("track", "path", "label", "split", "artist", "group")


@dataclass(frozen=True)
class Manifest:
    """A validated table of tracks: `track` (unique), `path`, `label` (several joined by `|`),
    `split` (train, validation, test, or empty: not assigned), `artist` and `group` (may be empty),
    and whatever else the data set offers. A track may be without any label (none of the tags fits)
    where `classes` are given and `multilabel` is true.

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
    classes: tuple[str, ...] = ()  # derived from the labels, and sorted, unless given
    multilabel: bool | None = None  # derived likewise

    def __post_init__(self) -> None:
        frame = self.frame.reset_index(drop=True)
        for column in IDENTITY:
            frame[column] = frame[column].astype(str).fillna("") if column in frame else ""
        for column in ("label", "split", "artist", "group"):  # an é of one sign or of two is one é
            frame[column] = frame[column].str.normalize("NFC").str.strip()
        frame["label"] = frame["label"].map(_tidy)
        frame["split"] = frame["split"].str.lower().replace(SPLIT_ALIASES)
        _check(frame, self.where, unlabelled=bool(self.classes and self.multilabel))
        object.__setattr__(self, "frame", frame)
        if not self.classes:
            object.__setattr__(self, "classes", tuple(sorted(set(labels_of(frame)))))
        if self.multilabel is None:
            several = bool(frame["label"].str.contains("|", regex=False).any())
            object.__setattr__(self, "multilabel", several)

    @property
    def where(self) -> str:
        """What messages name."""
        return self.source or self.name

    @cached_property
    def units(self) -> pd.Series:
        """What must not cross a split: the artist, else the group, else the track."""
        return units_of(self.frame)

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


def units_of(tracks: pd.DataFrame) -> pd.Series:
    """Return the independent unit of each track: the artist, else the group, else the track."""
    prefixed = {c: c + ":" + tracks[c] for c in ("artist", "group", "track")}
    other = prefixed["group"].where(tracks["group"] != "", prefixed["track"])
    return prefixed["artist"].where(tracks["artist"] != "", other)


def _tidy(label: str) -> str:
    parts = (part.strip() for part in label.split("|"))
    return "|".join(dict.fromkeys(part for part in parts if part))


def labels_of(frame: pd.DataFrame) -> pd.Series:
    """Return each label of each track; the index repeats where a track has several, and is without
    tracks that have none."""
    labels = frame["label"].str.split("|").explode()
    return labels[labels != ""]


def _check(frame: pd.DataFrame, where: str, unlabelled: bool) -> None:
    if frame.empty:
        raise InputError(f"{where} has no tracks.")
    bare = frame["track"][frame["label"] == ""]
    if len(bare) and not unlabelled:
        raise InputError(f"{where}: track {bare.iloc[0]} has no label; each needs one.")
    for column in ("track", "path"):
        twice = frame[column][frame[column].duplicated() & (frame[column] != "")]
        if len(twice):
            raise InputError(
                f"{where}: {column} {twice.iloc[0]} is there twice; "
                "list it once, several labels joined by |."
            )
    unknown = set(frame["split"]) - {"", *SPLITS}
    if unknown:
        name = min(unknown)
        raise InputError(f"{where}: split {name!r} is unknown; {nearest(name, SPLITS)}")


def encode_labels(labels: pd.Series, classes: Sequence[str], multilabel: bool) -> np.ndarray:
    """Return class indices `[B]`, or for several labels, joined by `|`, or none, zeros and ones
    `[B,K]`."""
    index = {name: i for i, name in enumerate(classes)}
    if not multilabel:
        return labels.map(index).to_numpy(np.int64)
    targets = np.zeros((len(labels), len(classes)), np.int64)
    for row, label in enumerate(labels):
        targets[row, [index[part.strip()] for part in label.split("|") if part]] = 1
    return targets
