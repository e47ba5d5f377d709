"""Decoding into the store: in parallel, one process at a time, continued where it was cut off."""

import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock
import numpy as np
import pandas as pd
from tqdm import tqdm

from zoo.audio import content_hash
from zoo.errors import InputError
from zoo.store import INDEX, KEY, Key, Samples, Store, find, folder_of
from zoo.workers import CHANGED, decode_all

SHARD_BYTES = 64 * 2**20
STALE_SECONDS = 24 * 60 * 60  # leftovers of a killed process are removed after a day


def prepare(
    paths: Iterable[str | Path],
    sample_rate: int,
    cache: Path,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[Store, pd.DataFrame]:
    """Decode what is not in `cache` yet; return the store, and a table (path, reason) of the rest.

    `workers` processes decode, by default one for each core. An interrupted call keeps what it has
    decoded; files that failed are tried again by the next call.

    Raises:
        InputError: `cache` cannot be written.
    """
    folder = folder_of(cache, sample_rate)
    paths = list(paths)
    found = find(folder, paths)
    reasons: dict[str, str] = {}
    if found["shard"].isna().any():
        with _locked(folder):
            found = find(folder, paths)  # again: another process may have been at work
            missing = found[found["shard"].isna()].drop_duplicates("path")
            keys: list[Key] = list(missing[KEY].itertuples(index=False, name=None))
            reasons = _add(keys, folder, sample_rate, workers or _num_cores(), progress)
        found = find(folder, paths)
    is_usable = found["shard"].notna()
    left_out = found[~is_usable].reset_index(drop=True)
    why = left_out["path"].map(reasons).fillna(CHANGED)
    report = pd.DataFrame({"path": left_out["given"], "reason": why})
    return Store(folder, sample_rate, found[is_usable]), report


def _add(
    keys: list[Key], folder: Path, sample_rate: int, workers: int, progress: bool
) -> dict[str, str]:
    """Decode the files into new shards; return path -> reason for those that cannot be used."""
    reasons: dict[str, str] = {}
    tracks: list[tuple[Key, Samples]] = []
    num_bytes = 0
    try:
        with closing(decode_all(keys, sample_rate, workers)) as results:
            for key, result in tqdm(
                results, "decoding", len(keys), unit="track", disable=None if progress else True
            ):
                if isinstance(result, str):
                    reasons[key[0]] = result
                    continue
                if tracks and num_bytes + result.nbytes > SHARD_BYTES:
                    _write_shard(folder, sample_rate, tracks)
                    tracks, num_bytes = [], 0
                tracks.append((key, result))
                num_bytes += result.nbytes
    finally:
        if tracks:
            _write_shard(folder, sample_rate, tracks)
    return reasons


def _write_shard(folder: Path, sample_rate: int, tracks: list[tuple[Key, Samples]]) -> None:
    """Write the samples and then their index, without which they do not exist for readers."""
    lengths = [len(samples) for _, samples in tracks]
    index = pd.DataFrame([key for key, _ in tracks], columns=KEY)
    index = index.assign(
        sample_rate=sample_rate,
        offset=np.cumsum(lengths) - lengths,
        length=lengths,
        content_hash=[content_hash(samples) for _, samples in tracks],
    )
    file = folder / f"{uuid.uuid4().hex}.npy"
    with explained(folder):
        with _complete(file) as npy:
            np.save(npy, np.concatenate([samples for _, samples in tracks]))
        with _complete(file.with_suffix(".parquet")) as parquet:
            index.to_parquet(parquet, index=False, schema=INDEX)


@contextmanager
def _complete(file: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `file` once it is complete and on the disk."""
    temporary = file.with_name(f"{file.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


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


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be written ({error.strerror or error}): "
            "name another one, for example in the environment variable GENRE_ZOO_CACHE."
        ) from error


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
