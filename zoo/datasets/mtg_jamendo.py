"""`mtg_jamendo`: MTG-Jamendo, whole tracks tagged by who uploaded them (Bogdanov et al. 2019).

Five sets of tags, each in five random splits that keep artists apart. Tags are written as in the
files, `genre---rock`, where they are of several categories (top50 and everything; weights published
with Won et al. 2020 call them so too), and as `rock` where one category would say nothing.
"""

from itertools import product
from pathlib import Path

import pandas as pd

from zoo.datasets.base import SPLITS, Manifest
from zoo.datasets.card import Card
from zoo.datasets.tables import existing, reading
from zoo.errors import InputError, check_choice

FILES = {  # by subset
    "genre": "autotagging_genre",
    "mood": "autotagging_moodtheme",
    "instrument": "autotagging_instrument",
    "top50": "autotagging_top50tags",
    "everything": "autotagging",
}
CARD = Card(
    name="mtg_jamendo",
    citation="Bogdanov, Won, Tovstogan, Porter, Serra: The MTG-Jamendo Dataset for Automatic Music "
    "Tagging. ICML Machine Learning for Music Discovery Workshop 2019",
    licence="metadata CC BY-NC-SA 4.0; audio under the Creative Commons licence of each track",
    size="55,525 tracks, 183 tags, 508 GB",
    home="https://github.com/MTG/mtg-jamendo-dataset (whose scripts/download/download.py fetches "
    "and checks the audio)",
    layout="the repository, and its audio in audio/, audio-low/ or beside data/: 14/214.mp3 or "
    "14/214.low.mp3 and so on",
)
COLUMNS = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
FOLDERS, SUFFIXES = ("audio", "audio-low", "."), (".mp3", ".low.mp3")


def load(
    cache: Path, *, path: Path | None = None, subset: str = "top50", split_number: int = 0
) -> Manifest:
    """Read a set of tags in one of its splits. Groups are albums.

    Raises `InputError` for a path without the split's files, and for files of another format.
    """
    check_choice("dataset.subset", subset, FILES)
    root = CARD.root(path)
    parts = []
    for split in SPLITS:
        name = f"data/splits/split-{split_number}/{FILES[subset]}-{split}.tsv"
        parts.append(_tracks(existing(CARD, root, name)).assign(split=split))
    frame = pd.concat(parts, ignore_index=True)
    folder, suffix = _layout(root)
    names = frame["path"].str.removesuffix(".mp3") + suffix
    frame["path"] = [str(root.absolute() / folder / name) for name in names]
    frame["label"] = _labels(frame["label"])
    return Manifest(
        f"mtg_jamendo_{subset}",
        frame,
        source=str(root),
        split_name=f"split-{split_number}",
        licence=CARD.licence,
        citation=CARD.citation,
        multilabel=True,
    )


def _tracks(file: Path) -> pd.DataFrame:
    """Return the tracks of a file, in which each tag is a field of its own at the line's end."""
    with reading(file):
        rows = [line.split("\t") for line in file.read_text("utf-8").splitlines()]
    if not rows or tuple(rows[0]) != COLUMNS:
        raise InputError(f"{file} is not as published: its first line must be {' '.join(COLUMNS)}.")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) < len(COLUMNS):
            raise InputError(f"{file} is not as published: line {number} has no tag.")
    return pd.DataFrame(
        [(*row[:4], "|".join(row[5:])) for row in rows[1:]],
        columns=["track", "artist", "group", "path", "label"],
    )


def _labels(labels: pd.Series) -> pd.Series:
    """Return the labels without their category if all have the same one."""
    categories = {tag.partition("---")[0] for tag in labels.str.split("|").explode()}
    return labels.str.replace(f"{categories.pop()}---", "") if len(categories) == 1 else labels


def _layout(root: Path) -> tuple[str, str]:
    """Return the folder that has audio and the ending of its names, the best copy first."""
    for folder, suffix in product(FOLDERS, SUFFIXES):
        if any((root / folder).glob(f"[0-9][0-9]/*[0-9]{suffix}")):
            return folder, suffix
    return FOLDERS[0], SUFFIXES[0]
