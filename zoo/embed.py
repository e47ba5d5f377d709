"""`python -m zoo.embed MODEL LIBRARY... --out emb.parquet`: embeddings of the tracks of a library.

MODEL is a run, a model folder, a name on the Hub, or an exported file; LIBRARY is a folder, a file,
or a table of tracks (.csv or .parquet; `path`, and optionally `artist` and `title`). Called again,
it computes what is new or has changed, and leaves out what is gone. Interrupted, it goes on where
it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.datasets.manifest import absolute, read_table
from zoo.embedded import here
from zoo.errors import InputError, check_choice, guard
from zoo.growing import Growing
from zoo.index import identity
from zoo.inference import Failed, find_files
from zoo.library import Library, Origin, read_library
from zoo.listening import LISTEN
from zoo.markdown import plain
from zoo.opening import open_runner
from zoo.out import check_out
from zoo.runners import Runner

ENGINES = ("local", "ray")
TABLES = (".csv", ".parquet", ".pq")
SAID = ("artist", "title")  # by a table of tracks, before what the file says


def find_tracks(given: Sequence[str]) -> pd.DataFrame:
    """Return the tracks of folders, files and tables: `path` (absolute), `artist`, `title`.

    Raises `InputError` for a folder without audio, and a table without paths.
    """
    tables = [name for name in given if Path(name).suffix.lower() in TABLES]
    frames = [_read(Path(name)) for name in tables]
    paths = find_files(name for name in given if name not in tables)
    frames.append(pd.DataFrame({"path": [str(Path(path).absolute()) for path in paths]}))
    tracks = pd.concat(frames, ignore_index=True).reindex(columns=["path", *SAID])
    return tracks.astype("str").fillna("").drop_duplicates("path", ignore_index=True)


def _read(file: Path) -> pd.DataFrame:
    frame = read_table(file)
    if "path" not in frame or frame.empty:
        raise InputError(f"{file} names no tracks: it needs a column 'path', and rows.")
    frame["path"] = [absolute(file.parent.absolute(), str(name)) for name in frame["path"]]
    return frame


def unchanged(tracks: pd.DataFrame) -> np.ndarray:
    """Tell of each row of a library whether its file is what it was."""
    known = zip(tracks["size"], tracks["mtime_ns"], strict=True)
    now = map(identity, tracks["path"])
    return np.array([before == after for before, after in zip(known, now, strict=True)], bool)


def said_anew(library: Library, tracks: pd.DataFrame) -> Library:
    """Return a library with what the table of tracks says of them now."""
    rows = library.tracks.reset_index(drop=True)
    said = tracks.set_index("path").reindex(rows["path"])
    for column in SAID:
        new = said[column].fillna("").to_numpy()
        rows[column] = np.where(new != "", new, rows[column])
    return Library(rows, library.embedding_BD, library.origin, library.file)


def embed(options: argparse.Namespace, runner: Runner, tracks: pd.DataFrame) -> list[Failed]:
    """Bring the file up to date with the tracks; return those that cannot be embedded."""
    named = Path(options.model).expanduser()
    name = str(named.absolute()) if named.exists() else options.model
    growing = Growing.open(options.out, Origin.of(runner.about, name, options.listen))
    before = growing.library()
    is_kept = unchanged(before.tracks)
    growing.keep(said_anew(before, tracks), is_kept)
    is_new = ~tracks["path"].isin(before.tracks["path"][is_kept])
    missing = tracks[is_new]
    gone = int((~is_kept & ~before.tracks["path"].isin(missing["path"])).sum())
    print(
        f"{len(missing)} tracks to embed, {int(is_kept.sum())} are there"
        + f", {gone} are gone" * bool(gone),
        flush=True,
    )
    failed = []
    if options.engine == "ray" and len(missing):
        from zoo.embed_ray import on_cluster

        results = on_cluster(name, missing, options.listen)
    else:
        results = here(runner, missing, options.listen)
    try:
        for result in results:
            if isinstance(result, Failed):
                failed.append(result)
                print(f"{plain(result.path)} {plain(result.reason)}", file=sys.stderr)
            else:
                growing.add(result)
    finally:  # also when interrupted: what has been computed is not lost
        growing.finish()
    return failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m zoo.embed", description=__doc__)
    add = parser.add_argument
    add("model", help="a run, a model folder, a name on the Hub, an exported file")
    add("library", nargs="+", metavar="LIBRARY", help="folders, audio files, tables of tracks")
    add("--out", type=Path, metavar="FILE", required=True, help="a Parquet file, kept up to date")
    add("--listen", default="all", metavar="HOW", help=f"{', '.join(LISTEN)}: less is faster")
    add("--engine", default="local", metavar="NAME", help="local, or ray: the cluster of Ray Data")
    options = parser.parse_args(arguments)
    check_choice("--listen", options.listen, LISTEN)
    check_choice("--engine", options.engine, ENGINES)
    check_out(options.out, [".parquet"])
    tracks = find_tracks(options.library)
    failed = embed(options, open_runner(options.model), tracks)
    if failed and len(failed) == len(tracks):
        raise InputError(f"none of the {len(tracks)} tracks could be embedded.")
    library = read_library(options.out)
    print(f"{options.out}: {len(library)} tracks, {library.origin.num_features} numbers each")
    if failed:
        print(f"{len(failed)} files could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    guard(main)
