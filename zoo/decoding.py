"""Decoding into the store: in parallel, one process at a time, continued where it was cut off."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import filelock
import pandas as pd
import pyarrow.compute as pc
from tqdm import tqdm

from zoo.decoder import CHANGED
from zoo.errors import check_choice
from zoo.index import Key, distinct, find, identity
from zoo.shards import Writer, explained, merge_index
from zoo.store import Store, folder_of
from zoo.workers import decode_all

ENGINES = ("local", "ray")
SHARD_BYTES = 256 * 2**20
STALE_SECONDS = 24 * 60 * 60  # leftovers of a killed process are removed after a day


def prepare(
    paths: Iterable[str | Path],
    sample_rate: int,
    cache: Path,
    workers: int | None = None,
    progress: bool = True,
    engine: str = "local",
    verify: bool = True,
) -> tuple[Store, pd.DataFrame]:
    """Decode what is not in `cache` yet; return the store, and a table (path, reason) of the rest.

    `workers` processes decode, by default one for each core; with the engine `ray`, the tasks of a
    cluster. An interrupted call keeps what it has decoded; files that failed are tried again by the
    next call. `verify` decodes again what has changed since, at the cost of a look at each file.

    Raises:
        InputError: `cache` cannot be written, or the cluster cannot be used.
    """
    check_choice("prepare.engine", engine, ENGINES)
    folder = folder_of(cache, sample_rate)
    given = distinct(paths)
    found = find(folder, given, verify)
    reasons: dict[str, str] = {}
    if found["shard"].null_count:
        with _locked(folder):
            found = find(folder, given, verify)  # again: another process may have been at work
            missing = found.filter(found["shard"].is_null())["path"].unique().to_pylist()
            keys = [(path, *identity(path)) for path in missing]
            if engine == "ray":
                from zoo import cluster

                reasons = cluster.add(_add, keys, folder, sample_rate, workers, progress)
            else:
                reasons = _add(keys, folder, sample_rate, workers or num_cores(), progress)
            merge_index(folder)
        found = find(folder, given, verify)
    is_usable = found["shard"].is_valid()
    left_out = found.filter(pc.invert(is_usable)).select(["given", "path"]).to_pandas()
    why = left_out["path"].map(reasons).fillna(CHANGED)
    report = pd.DataFrame({"path": left_out["given"], "reason": why})
    return Store(folder, sample_rate, found.filter(is_usable)), report


def _add(
    keys: Sequence[Key],
    folder: Path,
    sample_rate: int,
    workers: int,
    progress: bool,
    name: str = "",
) -> dict[str, str]:
    """Decode the files into new shards; return path -> reason for those that cannot be used."""
    reasons: dict[str, str] = {}
    writer = Writer(folder, sample_rate, SHARD_BYTES, name)
    try:
        with closing(decode_all(list(keys), sample_rate, workers, folder)) as results:
            for key, result in tqdm(
                results, "decoding", len(keys), unit="track", disable=None if progress else True
            ):
                if isinstance(result, str):
                    reasons[key[0]] = result
                else:
                    writer.add(key, result.samples)
    finally:
        writer.finish()
    return reasons


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write into `folder`, which is made and tidied first."""
    lock = filelock.FileLock(folder / ".lock")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"waiting for another process to finish decoding into {folder}", file=sys.stderr)
            lock.acquire()
    try:
        _remove_leftovers(folder)
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    for file in folder.iterdir():
        is_orphan = file.suffix == ".npy" and not file.with_suffix(".parquet").exists()
        is_leftover = is_orphan or file.suffix == ".tmp"
        if is_leftover and file.stat().st_mtime < time.time() - STALE_SECONDS:
            file.unlink()


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
