"""`gtzan`: the genre collection of Tzanetakis and Cook, with the splits that are used for it.

`facts/gtzan.csv` holds for each of the 1,000 tracks the fault-filtered split published with
Kereliuk et al. 2015, the artist found by Sturm 2013 (a number; artist 138 is in training and in
test), and two assignments to five folds, made once by `zoo.datasets.splits.assign_folds` with seed
0: of the artists, and of the tracks.
"""

from pathlib import Path

import pandas as pd

from zoo.datasets.base import Manifest
from zoo.datasets.card import Card
from zoo.errors import check_choice

CARD = Card(
    name="gtzan",
    citation=(
        "Tzanetakis and Cook: Musical genre classification of audio signals, 2002; artists: Sturm: "
        "The GTZAN dataset: its contents, its faults, their effects on evaluation, and its future "
        "use, 2013; split: Kereliuk, Sturm and Larsen: Deep learning and music adversaries, 2015"
    ),
    licence="none stated",
    size="1,000 tracks of 30 s in 10 genres, 1.2 GB; jazz.00054 is known to be broken",
    home="https://huggingface.co/datasets/marsyas/gtzan",
    alternatives=(
        "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification "
        "(the link of Marsyas, http://opihi.cs.uvic.ca/sound/genres.tar.gz, is dead)",
    ),
    layout=(
        "Data/genres_original (Kaggle), genres (Marsyas, the Hub), or the genres' folders "
        "themselves, with files such as blues/blues.00000.wav or .au"
    ),
)
FACTS = Path(__file__).with_name("facts") / "gtzan.csv"
FOLDERS = ("Data/genres_original", "genres_original", "genres", ".")
SUFFIXES = (".wav", ".au")
PROTOCOLS = {  # split name, and the column of the facts
    "fault_filtered": ("fault_filtered", "split"),
    "artist_folds": ("artist_folds", "artist_fold"),
    "random_folds": ("random_folds, artists ignored", "random_fold"),
}


def load(cache: Path, *, path: Path | None = None, protocol: str = "fault_filtered") -> Manifest:
    """List the tracks below `path`, whose files are there or not.

    `fault_filtered` is kept as published, 443/197/290; `artist_folds` keeps artists whole and has
    tracks of unknown artists in training only; `random_folds` splits artists, as old papers did.
    Raises `InputError` for another protocol and for a folder without genres.
    """
    check_choice("dataset.protocol", protocol, PROTOCOLS)
    root = CARD.root(path)
    facts = pd.read_csv(FACTS, dtype=str, keep_default_na=False)
    genres = facts["track"].str.partition(".")[0]
    name, column = PROTOCOLS[protocol]
    frame = pd.DataFrame(
        {
            "track": facts["track"],
            "path": _paths(root, facts["track"], genres),
            "label": genres,
            "artist": facts["artist"],
            "split" if column == "split" else "fold": facts[column],
        }
    )
    return Manifest(
        name="gtzan",
        frame=frame,
        source=str(root),
        split_name=name,
        licence=CARD.licence,
        citation=CARD.citation,
    )


def _paths(root: Path, tracks: pd.Series, genres: pd.Series) -> list[str]:
    """Return each track's file, or where it should be."""
    folders = (root.absolute() / name for name in FOLDERS)
    folder = next((f for f in folders if any((f / genre).is_dir() for genre in set(genres))), None)
    if folder is None:
        raise CARD.missing(root, "folder of a genre, such as genres/blues")
    there = {file.name for file in folder.glob("*/*")}
    usual = max(SUFFIXES, key=lambda suffix: sum(name.endswith(suffix) for name in there))
    paths = []
    for track, genre in zip(tracks, genres, strict=True):
        suffix = next((s for s in SUFFIXES if f"{track}{s}" in there), usual)
        paths.append(str(folder / genre / f"{track}{suffix}"))
    return paths
