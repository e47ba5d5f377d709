"""Which files seem to be pieces of one longer recording, by their names and lengths."""

import re
from pathlib import PurePath

import numpy as np
import pandas as pd

from zoo.datasets.base import SPLIT_ALIASES, SPLITS, labels_of

RANGE = re.compile(r"(?P<base>.+?)[\W_]+(?P<start>\d+(?:\.\d+)?)s?[-_ ]+(?P<end>\d+(?:\.\d+)?)s?")
WORDS = "chunk|segment|slice|excerpt|part|clip"
NUMBERED = re.compile(
    rf"(?P<base>.+?)(?:[\W_]+(?P<word>{WORDS}))?[\W_]*(?P<number>\d+)", re.IGNORECASE
)
SAYS_SOMETHING = r"[^\W\d_]|\d{4}"  # in a base: a letter, or an identifier; not a disc's number
TOLERANCE = 1.0  # second, between a range in a name and the length of the file
EQUAL = 0.1  # second, between pieces of one recording
LONGEST = 20 * 60  # seconds; what adds up to more is numbered, not cut


def sources(frame: pd.DataFrame, seconds: np.ndarray) -> pd.Series:
    """Return for each track of a manifest, with its length, the recording that it seems to be a
    piece of; empty where nothing says so.

    Pieces lie in one folder (but for the splits), have one name, and end in
    - a range of seconds or milliseconds that is as long as the file, as are most of its kind:
      `song-30-59.mp3`; or
    - a word and a number: `song.chunk3.wav`; or
    - a number alone, from 0 or 1 on, if all but one of a name are equally long, the folder holds
      several such names, and none is that of a class: `song_0.wav`, not `blues.00012.wav`.
    """
    paths = [PurePath(path) for path in frame["path"]]
    stems = pd.Series([path.stem for path in paths], frame.index, dtype=str)
    ranges = stems.str.extract(rf"^{RANGE.pattern}$")
    names = stems.str.extract(rf"^{NUMBERED.pattern}$", flags=re.IGNORECASE)
    span = ranges["end"].astype(float) - ranges["start"].astype(float)
    is_range = (span - seconds).abs().le(TOLERANCE) | (span / 1000 - seconds).abs().le(TOLERANCE)
    places = pd.Series([_place(path.parent) for path in paths], frame.index, dtype=str)
    is_range &= is_range.groupby([places, ranges["base"]]).transform("mean") >= 0.5
    pieces = pd.DataFrame(
        {
            "place": places,
            "base": ranges["base"].where(is_range, names["base"]),
            "number": names["number"].astype(float),
            "seconds": seconds,
            "is_range": is_range,
            "is_worded": names["word"].notna(),
        }
    )
    pieces = pieces[pieces["base"].str.contains(SAYS_SOMETHING, na=False)]
    is_cut = _are_cut(pieces, {name.casefold() for name in labels_of(frame)})
    named = pieces["place"] + "/" + pieces["base"]
    return named.where(is_cut).reindex(frame.index).fillna("")


def _place(folder: PurePath) -> str:
    """Return the folder without the names of splits."""
    known = (*SPLITS, *SPLIT_ALIASES)
    return "/".join(part for part in folder.parts if part.lower() not in known)


def _are_cut(pieces: pd.DataFrame, classes: set[str]) -> pd.Series:
    """Tell for each piece whether those of its place and base are cut from one recording."""
    by = pieces.groupby(["place", "base"])
    longest = by["seconds"].transform("max")
    is_short = pieces["seconds"] < longest - EQUAL
    is_even = is_short.groupby([pieces["place"], pieces["base"]]).transform("sum") <= 1
    num = by["seconds"].transform("size")
    counts_up = (by["number"].transform("min") <= 1) & (by["number"].transform("max") < 2 * num)
    is_class = pieces["base"].str.casefold().isin(classes)
    is_numbered = (num > 1) & is_even & counts_up & ~is_class
    num_bases = pieces["base"].where(is_numbered).groupby(pieces["place"]).transform("nunique")
    fits = (num > 1) & (by["seconds"].transform("sum") <= LONGEST)
    return pieces["is_range"] | (fits & (pieces["is_worded"] | (is_numbered & (num_bases > 1))))
