"""`python -m zoo.recommend LIBRARY --like SONG`: the tracks of a library that sound most alike.

LIBRARY is what `python -m zoo.embed` wrote. A song that is one of its tracks is known by its path,
or by the end of it (`jazz/song.mp3`); any other file is heard by the model of the library, and only
then torch is loaded. Where several are liked their mean counts, and half the mean of what is
unliked speaks against it.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import InputError, guard, nearest
from zoo.library import Library, read_library
from zoo.neighbours import Neighbours
from zoo.out import check_out, write_out
from zoo.playlist import WRITERS, show
from zoo.songs import Song, query, songs

COLUMNS = ("path", "artist", "title", "genre", "seconds")


def fitting(
    library: Library,
    genres: Sequence[str] = (),
    artists: Sequence[str] = (),
    seconds: tuple[float, float] | None = None,
) -> np.ndarray:
    """Return which tracks are of one of the genres and by one of the artists, and last from so many
    seconds to so many `[B]`.

    Raises `InputError` for a genre or an artist of none of the tracks.
    """
    tracks = library.tracks
    fits_B = np.ones(len(tracks), bool)
    if genres:
        codes, kinds = pd.factorize(tracks["genre"])
        parts = [set(kind.split("|")) for kind in kinds]
        known = set().union(*parts) - {""}
        if unknown := [genre for genre in genres if genre not in known]:
            raise InputError(
                f"--genre {unknown[0]}: no track of {library.file} has it; "
                f"{nearest(unknown[0], known)}"
            )
        fits_B &= np.array([not part.isdisjoint(genres) for part in parts])[codes]
    if artists:
        _check_artists(library, artists)
        fits_B &= tracks["artist"].isin(artists).to_numpy()
    if seconds:
        fits_B &= tracks["seconds"].between(*seconds).to_numpy()
    return fits_B


def _check_artists(library: Library, artists: Sequence[str]) -> None:
    known = set(library.tracks["artist"]) - {""}
    for artist in artists:
        if artist not in known:
            close = get_close_matches(artist, known)  # `nearest` might list a million
            hint = f"did you mean {' or '.join(close)}?" if close else "see its column artist."
            raise InputError(f"--artist {artist}: no track of {library.file} has it; {hint}")


def recommend(
    library: Library, neighbours: Neighbours, x_D: np.ndarray, number: int, among_B: np.ndarray
) -> tuple[pd.DataFrame, int]:
    """Return the nearest of the chosen tracks whose files are there, at most `number` of them, with
    `rank`, `similarity` (cosine) and `COLUMNS`, by their rows in the library; and how many that
    would be among them are gone.

    Raises `InputError` if the files of all chosen tracks are gone.
    """
    num_tracks, asked = int(among_B.sum()), number
    while True:
        similarity_N, row_N = neighbours.search(x_D, asked, among_B)
        paths = library.tracks["path"].iloc[row_N]
        there = np.flatnonzero([os.path.exists(path) for path in paths])  # noqa: PTH110 (never raises)
        if len(there) >= number or asked >= num_tracks:
            break
        asked *= 4
    if not len(there):
        raise InputError(
            f"{library.file}: all {num_tracks} files to choose from are gone, such as "
            f"{paths.iloc[0]}; bring them back, or embed the library where it is now."
        )
    there = there[:number]
    answers = library.tracks[list(COLUMNS)].iloc[row_N[there]]
    answers.insert(0, "similarity", similarity_N[there].astype(np.float64))
    answers.insert(0, "rank", np.arange(1, len(there) + 1))
    last = there[-1] + 1 if len(there) == number else len(row_N)
    return answers, int(last - len(there))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _options(arguments)
    if options.k < 1:
        raise InputError(f"-k {options.k} must be at least 1.")
    check_out(options.out, WRITERS)
    seconds = _seconds(options.seconds)
    library = read_library(options.library)
    if not len(library):
        raise InputError(f"{library.file} holds no track; embed some.")
    among_B = fitting(library, options.genre, options.artist, seconds)
    given = songs(library, [*options.like, *options.unlike], options.model)
    liked, unliked = given[: len(options.like)], given[len(options.like) :]
    among_B &= ~library.tracks["path"].isin([song.path for song in given]).to_numpy()
    if options.exclude_artist:
        among_B &= ~library.tracks["artist"].isin(_artists(liked)).to_numpy()
    if not among_B.any():
        raise InputError(
            f"{library.file} has no track to recommend, beside the songs given and what the "
            "options leave out; ask for less, or embed more tracks."
        )
    x_D = query(liked, unliked)
    neighbours = Neighbours(library.embedding_BD, library.file, int(among_B.sum()))
    answers, gone = recommend(library, neighbours, x_D, options.k, among_B)
    if gone:
        _note(f"{gone} tracks are left out, as their files are gone")
    if len(answers) < options.k:
        _note(f"{len(answers)} tracks are all there is of the {options.k} asked for")
    print(show(answers))
    if options.out:
        write_out(options.out, WRITERS[options.out.suffix](answers))
        print(f"\nwrote {options.out}")


def _artists(liked: Sequence[Song]) -> set[str]:
    if nameless := sum(not song.artist for song in liked):
        _note(f"--exclude-artist leaves out nobody for {nameless} liked songs without an artist")
    return {song.artist for song in liked} - {""}


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _seconds(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(f"{number}-{number}", text)
    if not match or float(match[1]) > float(match[2]):
        raise InputError(f"--seconds {text} must be of the form MIN-MAX, such as 120-300.")
    return float(match[1]), float(match[2])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m zoo.recommend", description=__doc__)
    parser.add_argument("library", type=Path, help="the file that zoo.embed wrote")
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--like", **several, required=True, metavar="SONG", help="a path")
    parser.add_argument("--unlike", **several, metavar="SONG", help="what it should not be like")
    parser.add_argument("-k", type=int, default=20, help="number of tracks (default: 20)")
    parser.add_argument(
        "--exclude-artist", action="store_true", help="none by the artists of what is liked"
    )
    parser.add_argument("--genre", **several, metavar="NAME", help="tracks of one of these alone")
    parser.add_argument("--artist", **several, metavar="NAME", help="tracks by one of these alone")
    parser.add_argument("--seconds", metavar="MIN-MAX", help="tracks that last so long alone")
    parser.add_argument("--model", help="what hears other files, if the library's has moved")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the answers there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    guard(main)
