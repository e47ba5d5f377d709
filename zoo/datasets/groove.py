"""`groove`: human drumming in its styles, from the Groove MIDI Dataset's info.csv and audio."""

from pathlib import Path

import pandas as pd

from zoo.datasets.base import SPLITS, Manifest
from zoo.datasets.card import Archive, Card
from zoo.datasets.manifest import read_table
from zoo.errors import InputError, check_choice

CARD = Card(
    name="groove",
    citation=(
        "Gillick, Roberts, Engel, Eck and Bamman: Learning to groove with inverse sequence "
        "transformations, 2019"
    ),
    licence="CC BY 4.0",
    size="1,150 performances by 10 drummers, 13.6 hours (1,090 of them with audio), 5.1 GB",
    home="https://magenta.tensorflow.org/datasets/groove",
    alternatives=("https://www.tensorflow.org/datasets/catalog/groove",),
    archives=(
        Archive(
            "https://storage.googleapis.com/magentadata/datasets/groove/groove-v1.0.0.zip",
            "sha256:21559feb2f1c96ca53988fd4d7060b1f2afe1d854fb2a8dcea5ff95cf3cce7e9",
        ),
    ),
    layout="groove/info.csv, or info.csv itself, with the folders drummer1 to drummer10 beside it",
)
COLUMNS = ("drummer", "session", "id", "style", "beat_type", "audio_filename", "split")
BEAT_TYPES = ("beat", "fill", "all")
# drummer1 plays afrobeat, funk, hiphop, jazz, latin, pop, rock and soul; the two for validation
# play all of these but afrobeat, for which there is one drummer more
HELD_OUT = {"drummer1": "test", "drummer3": "validation", "drummer5": "validation"}
PROTOCOLS = {  # the splits that must have tracks of a style
    "official": SPLITS,
    "drummer": ("train", "test"),
}


def load(
    cache: Path,
    *,
    path: Path | None = None,
    protocol: str = "official",
    beat_type: str = "beat",
) -> Manifest:
    """List the performances with audio: label is the primary style, artist the drummer, group the
    recording session.

    `official` is the split of info.csv, in which drummers and sessions cross; `drummer` keeps
    drummers apart (`HELD_OUT`). Only styles stay that have tracks in every split, with `drummer` in
    training and test. `fill` stands for the short fills between two beats, a bar or two long.
    Raises `InputError` for unknown choices, and where info.csv or a column of it is missing.
    """
    check_choice("dataset.protocol", protocol, PROTOCOLS)
    check_choice("dataset.beat_type", beat_type, BEAT_TYPES)
    root = CARD.root(path)
    file = next((f for f in (root / "groove/info.csv", root / "info.csv") if f.is_file()), None)
    if file is None:
        raise CARD.missing(root, "info.csv")
    info = _read(file)
    info = info[info["audio_filename"] != ""]
    if beat_type != "all":
        info = info[info["beat_type"] == beat_type]
    frame = info.rename(columns={"id": "track", "drummer": "artist", "session": "group"}).assign(
        path=[str(file.parent.absolute() / name) for name in info["audio_filename"]],
        label=info["style"].str.partition("/")[0],
    )
    if protocol == "drummer":
        frame["split"] = frame["artist"].map(HELD_OUT).fillna("train")
    held = frame.groupby("label")["split"].agg(set)
    complete = [style for style, splits in held.items() if splits >= set(PROTOCOLS[protocol])]
    return Manifest(
        name="groove" if beat_type == "beat" else f"groove-{beat_type}",
        frame=frame[frame["label"].isin(complete)],
        source=str(file),
        split_name=protocol,
        licence=CARD.licence,
        citation=CARD.citation,
    )


def _read(file: Path) -> pd.DataFrame:
    info = read_table(file)
    for column in COLUMNS:
        if column not in info:
            raise InputError(f"{file} has no column {column!r}: it is not the data set's info.csv.")
    return info
