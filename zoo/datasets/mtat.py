"""`mtat`: MagnaTagATune, clips of 29 s and the 50 most frequent of their tags (Law et al. 2009).

The audio lies in folders 0 to f: 0 to b are for training, c for validation, d to f for the test;
artists cross. `version=usual` is that rule without the three clips that are empty files
(18,706/1,825/5,329); clips that have none of the 50 tags stay, without a label. `version=cleaned`
leaves those out too (15,247/1,529/4,332), as Won et al. 2020 did. `facts/mtat_cleaned.txt` keeps
their lists: a letter for each row of annotations_final.csv, t, v or e (test) by its split, a point
where it is left out. Source: split/mtat of https://github.com/minzwon/sota-music-tagging-models.
"""

from pathlib import Path

import pandas as pd

from zoo.datasets.base import Manifest
from zoo.datasets.card import Archive, Card
from zoo.datasets.tables import existing, read_table
from zoo.errors import InputError, check_choice
from zoo.tags import TAGS

HOST = "https://mirg.city.ac.uk/datasets/magnatagatune"
ANNOTATIONS, CLIPS = "annotations_final.csv", "clip_info_final.csv"
CARD = Card(
    name="mtat",
    citation="Law, West, Mandel, Bay, Downie: Evaluation of Algorithms Using Games: The Case of "
    "Music Tagging. ISMIR 2009",
    licence="CC BY-NC-SA 3.0",
    size="25,863 clips of 29 s at 16 kHz, 188 tags, 3 GB",
    home="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    layout=f"{ANNOTATIONS}, {CLIPS} and the folders 0 to f of the unpacked mp3.zip (its three "
    "parts put together), there or in mp3/",
    alternatives=("https://huggingface.co/datasets/confit/magnatagatune",),
    archives=(  # the publisher gives no checksums
        Archive(f"{HOST}/{ANNOTATIONS}"),
        Archive(f"{HOST}/{CLIPS}"),
        Archive(f"{HOST}/mp3.zip.001", more=(f"{HOST}/mp3.zip.002", f"{HOST}/mp3.zip.003")),
    ),
)
VERSIONS = ("usual", "cleaned")
FOLDERS = {**dict.fromkeys("0123456789ab", "train"), "c": "validation"}
FOLDERS |= dict.fromkeys("def", "test")
LETTERS = {"t": "train", "v": "validation", "e": "test", ".": ""}
BROKEN = ("35644", "55753", "57881")  # clips without a byte


def load(cache: Path, *, path: Path | None = None, version: str = "cleaned") -> Manifest:
    """Read the clips of a version with their tags, of which there may be none in `usual`.

    A group is a recording: what a clip's name says before its seconds. Raises `InputError` for a
    path without the tables, and for annotations that do not fit the published split.
    """
    check_choice("dataset.version", version, VERSIONS)
    root, tags = CARD.root(path), TAGS["mtat"]
    file = existing(CARD, root, ANNOTATIONS)
    frame = read_table(file, ["clip_id", *tags, "mp3_path"], "\t")
    artists = read_table(existing(CARD, root, CLIPS), ["clip_id", "artist"], "\t")
    split = frame["mp3_path"].str[0].map(FOLDERS).fillna("")
    kept = ~frame["clip_id"].isin(BROKEN) if version == "usual" else _cleaned(file, split)
    folder = root.absolute() / "mp3" if (root / "mp3").is_dir() else root.absolute()
    clips = pd.DataFrame(
        {
            "track": frame["clip_id"],
            "path": [str(folder / name) for name in frame["mp3_path"]],
            "label": _labels(frame[list(tags)]),
            "split": split,
            "artist": frame["clip_id"].map(dict(artists.itertuples(index=False))).fillna(""),
            "group": frame["mp3_path"].str.replace(r"-\d+-\d+\.mp3$", "", regex=True),
        }
    )
    return Manifest(
        "mtat",
        clips[kept],
        source=str(root),
        split_name=version,
        licence=CARD.licence,
        citation=CARD.citation,
        classes=tags,
        multilabel=True,
    )


def _cleaned(file: Path, split: pd.Series) -> pd.Series:
    """Return which rows the cleaned version keeps. Raises `InputError` where its splits are not
    those of the rows' folders."""
    letters = (Path(__file__).parent / "facts/mtat_cleaned.txt").read_text("utf-8")
    published = pd.Series(list(letters.replace("\n", ""))).map(LETTERS)
    kept = published != ""
    if len(published) != len(split) or (published[kept] != split[kept]).any():
        raise InputError(
            f"{file} is not as published: its {len(split):,} rows do not fit the split of the "
            f"original's {len(published):,}; get that, or give dataset.version=usual."
        )
    return kept


def _labels(marks: pd.DataFrame) -> list[str]:
    """Return the tags of each row that has "1" in their columns, joined by `|`."""
    names = marks.columns.to_numpy()
    return ["|".join(names[row]) for row in (marks == "1").to_numpy()]
