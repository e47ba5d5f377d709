"""`fma`: the Free Music Archive in four sizes, with its official split (Defferrard et al. 2017).

The official split keeps artists apart. `labels=genre_top` gives the one root genre of a track, and
leaves out tracks that have none or several (half of large and full); `labels=genres_all` gives all
its genres with their ancestors, as several labels. A genre without a training track cannot be
learned: its label is left out, and so is a track that has no other.

As published, three clips of small hold no audio (99134, 108925 and 133297) and three are shorter
than 30 s; preparation names what cannot be decoded.
"""

import csv
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.datasets.base import Manifest
from zoo.datasets.card import Archive, Card
from zoo.datasets.tables import check_columns, existing, read_table, reading
from zoo.errors import InputError, check_choice

SIZES = {  # each holds the tracks of those before it
    "small": "8,000 clips of 30 s, 8 genres, 7.2 GiB",
    "medium": "25,000 clips of 30 s, 16 genres, 22 GiB",
    "large": "106,574 clips of 30 s, 161 genres, 93 GiB",
    "full": "106,574 whole tracks, 161 genres, 879 GiB",
}
LABELS = ("genre_top", "genres_all")
HOST = "https://os.unil.cloud.switch.ch/fma"
SHA1 = {  # as in the README of https://github.com/mdeff/fma
    "metadata": "f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
    "small": "ade154f733639d52e35e32f5593efe5be76c6d70",
    "medium": "c67b69ea232021025fca9231fc1c7c1a063ab50b",
    "large": "497109f4dd721066b5ce5e5f250ec604dc78939e",
    "full": "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab",
}
COLUMNS = {  # of tracks.csv, by the names that a manifest gives them
    "split": "set.split",
    "subset": "set.subset",
    "artist": "artist.id",
    "group": "album.id",
    "genre_top": "track.genre_top",
    "genres_all": "track.genres_all",
}
NO_ALBUM = "-1"


def card(subset: str = "small", **others: Any) -> Card:
    """Return the card of one of the sizes. Raises `InputError` for an unknown one."""
    check_choice("dataset.subset", subset, SIZES)
    return Card(
        name="fma",
        citation="Defferrard, Benzi, Vandergheynst, Bresson: FMA: A Dataset For Music Analysis. "
        "ISMIR 2017",
        licence="metadata CC BY 4.0; audio under the Creative Commons licence of each track",
        size=SIZES[subset],
        home="https://github.com/mdeff/fma",
        layout=f"fma_metadata/tracks.csv, fma_metadata/genres.csv and fma_{subset}/000/000002.mp3 "
        "and so on",
        alternatives=(
            "https://academictorrents.com/details/dba20c45d4d6fa6453a4e99d2f8a4817893cfb94",
        ),
        archives=tuple(
            Archive(f"{HOST}/fma_{part}.zip", f"sha1:{SHA1[part]}") for part in ("metadata", subset)
        ),
    )


def load(
    cache: Path, *, path: Path | None = None, subset: str = "small", labels: str = "genre_top"
) -> Manifest:
    """Read the tracks of a size and their genres, by `labels` the root genre or all.

    The clips of small and medium may also lie in the folder of a larger size. Raises `InputError`
    for a path without the metadata, and for a file of them that is not as published.
    """
    about = card(subset)
    check_choice("dataset.labels", labels, LABELS)
    root = about.root(path)
    frame = _tracks(existing(about, root, "fma_metadata/tracks.csv"))
    sizes = list(SIZES)
    frame = frame[frame["subset"].isin(sizes[: sizes.index(subset) + 1])]
    if labels == "genre_top":
        genres = frame["genre_top"].map(lambda name: [name] if name else [])
    else:
        genres = _all_genres(frame, existing(about, root, "fma_metadata/genres.csv"))
    learnable = set(genres[frame["split"] == "training"].explode())
    label = genres.map(lambda names: "|".join(name for name in names if name in learnable))
    folder = _folder(root.absolute(), subset)
    frame = frame.assign(
        label=label,
        group=frame["group"].replace(NO_ALBUM, ""),
        path=[str(folder / track[:3] / f"{track}.mp3") for track in frame["track"]],
    )
    return Manifest(
        f"fma_{subset}",
        frame[label != ""].drop(columns=["subset", *LABELS]),
        source=str(root),
        split_name="official",
        licence=about.licence,
        citation=about.citation,
        multilabel=labels == "genres_all",
    )


def _tracks(file: Path) -> pd.DataFrame:
    """Return `COLUMNS` and the track's six digits. Three rows head the file: the columns' groups,
    their names, and the name of the first."""
    with reading(file), file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        groups, names, _ = (next(rows, []) for _ in range(3))
    header = [".".join(pair) for pair in zip(groups, names, strict=False)]
    check_columns(file, list(COLUMNS.values()), header)
    places = {"track": 0, **{name: header.index(column) for name, column in COLUMNS.items()}}
    with reading(file):
        table = pd.read_csv(
            file,
            header=None,
            skiprows=3,
            usecols=list(places.values()),
            dtype=str,
            keep_default_na=False,
        )
    frame = pd.DataFrame({name: table[place] for name, place in places.items()})
    return frame.assign(track=frame["track"].str.zfill(6))


def _all_genres(frame: pd.DataFrame, file: Path) -> pd.Series:
    """Return the names of each track's genres, which tracks.csv gives by number: `[17, 103]`."""
    table = read_table(file, ["genre_id", "title"])
    titles = dict(zip(table["genre_id"], table["title"].str.replace("|", "/"), strict=True))
    numbers = frame["genres_all"].str.findall(r"\d+")
    unknown = set(numbers.explode().dropna()) - set(titles)
    if unknown:
        raise InputError(f"{file} has no genre {min(unknown)}, which tracks.csv beside it names.")
    return numbers.map(lambda own: [titles[number] for number in own])


def _folder(root: Path, subset: str) -> Path:
    """Return where the audio is: full alone has whole tracks, the others have clips."""
    sizes = list(SIZES)
    larger = sizes[sizes.index(subset) : -1] or ["full"]
    folders = [root / f"fma_{size}" for size in larger]
    return next((folder for folder in folders if folder.is_dir()), folders[0])
