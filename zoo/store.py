"""Decoded audio, kept as memory-mapped int16: each file is decoded once for each sample rate.

`<cache>/store/<sample_rate>/<uuid>.npy` holds the samples of many tracks one after the other (a
shard); `<uuid>.parquet` beside it is its index (`INDEX`), written once the shard is complete.
"""

import copy
import os
import sys
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

import filelock
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from zoo.audio import AudioError, content_hash, decode
from zoo.errors import InputError

SHARD_BYTES = 64 * 2**20
STALE_SECONDS = 24 * 60 * 60  # leftovers of a killed process are removed after a day

INDEX = pa.schema(
    {
        "path": pa.string(),  # absolute
        "size": pa.int64(),  # bytes of the audio file
        "mtime_ns": pa.int64(),
        "sample_rate": pa.int64(),
        "offset": pa.int64(),  # samples
        "length": pa.int64(),  # samples
        "content_hash": pa.string(),
    }
)
KEY = ["path", "size", "mtime_ns"]
Key = tuple[str, int, int]
Samples = NDArray[np.int16]
CHANGED = "changed while it was being read"


def _max_maps() -> int:
    """Return half of the file descriptors that the process may have: each map takes one."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # 1,024 on most Linux, 256 on macOS
    return min(limit // 2, 2**15) if limit > 0 else 2**15


MAX_MAPS = _max_maps()


class Store:
    """The decoded tracks of a list of files; row i is the file `paths[i]`.

    Attributes:
        paths: the files that are in the store, as given and in the order given, without repeats.
        lengths: their lengths in samples, int64 [num_tracks].
        content_hashes: equal where the decoded audio is equal.
        sample_rate: in Hz.
    """

    def __init__(self, folder: Path, sample_rate: int, entries: pd.DataFrame) -> None:
        """Take the columns given, shard, offset, length and content_hash of `entries`."""
        shards, names = pd.factorize(entries["shard"])
        self.sample_rate = sample_rate
        self.paths: list[str] = entries["given"].tolist()
        self.lengths: NDArray[np.int64] = entries["length"].to_numpy(np.int64)
        self.content_hashes: list[str] = entries["content_hash"].tolist()
        self._offsets: NDArray[np.int64] = entries["offset"].to_numpy(np.int64)
        self._shards = shards
        self._files = [folder / f"{name}.npy" for name in names]
        self._maps: dict[int, Samples] = {}

    @classmethod
    def open(cls, cache: Path, sample_rate: int, paths: Iterable[str | Path]) -> Self:
        """Return a store of those `paths` that are in `cache`, unchanged since; writes nothing."""
        folder = _folder(cache, sample_rate)
        found = _find(folder, paths)
        return cls(folder, sample_rate, found[found["shard"].notna()])

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.paths)

    def select(self, rows: NDArray[np.integer]) -> Self:
        """Return a store of these rows of this one, in this order."""
        chosen = copy.copy(self)
        chosen.paths = [self.paths[row] for row in rows]
        chosen.content_hashes = [self.content_hashes[row] for row in rows]
        chosen.lengths, chosen._offsets = self.lengths[rows], self._offsets[rows]
        chosen._shards = self._shards[rows]
        return chosen

    def gather(
        self, rows: NDArray[np.integer], starts: NDArray[np.integer], length: int
    ) -> Samples:
        """Return [B, length]: from track `rows[i]` the `length` samples from `starts[i]` on.

        A track shorter than `length` is repeated; from any other the chunk must lie inside it.
        """
        lengths = self.lengths[rows]
        inside = (starts >= 0) & ((starts + length <= lengths) | (lengths < length))
        assert inside.all(), "a chunk lies outside its track"
        chunks = np.empty((len(rows), length), np.int16)
        for chunk, row, start in zip(chunks, rows.tolist(), starts.tolist(), strict=True):
            track_T = self._track(row)
            if len(track_T) < length:
                track_T.take(np.arange(start, start + length), mode="wrap", out=chunk)
            else:
                chunk[:] = track_T[start : start + length]
        return chunks

    def track(self, row: int) -> Samples:
        """Return a copy of the whole track [T]."""
        return self._track(row).copy()

    def _track(self, row: int) -> Samples:
        offset = self._offsets[row]
        return self._map(int(self._shards[row]))[offset : offset + self.lengths[row]]

    def _map(self, shard: int) -> Samples:
        if shard not in self._maps:
            if len(self._maps) >= MAX_MAPS:
                self._maps.pop(next(iter(self._maps)))
            # a plain array, because each slice of an np.memmap costs several times as much
            self._maps[shard] = np.load(self._files[shard], mmap_mode="r").view(np.ndarray)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}


def prepare(
    paths: Iterable[str | Path],
    sample_rate: int,
    cache: Path,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[Store, pd.DataFrame]:
    """Decode what is not in `cache` yet; return the store, and a table (path, reason) of the rest.

    `workers` threads decode, by default one for each core. An interrupted call keeps what it has
    decoded; files that failed are tried again by the next call.

    Raises:
        InputError: `cache` cannot be written.
    """
    folder = _folder(cache, sample_rate)
    paths = list(paths)
    found = _find(folder, paths)
    reasons: dict[str, str] = {}
    if found["shard"].isna().any():
        with _locked(folder):
            found = _find(folder, paths)  # again: another process may have been at work
            missing = found[found["shard"].isna()].drop_duplicates("path")
            keys: list[Key] = list(missing[KEY].itertuples(index=False, name=None))
            reasons = _add(keys, folder, sample_rate, workers or _num_cores(), progress)
        found = _find(folder, paths)
    is_usable = found["shard"].notna()
    left_out = found[~is_usable].reset_index(drop=True)
    why = left_out["path"].map(reasons).fillna(CHANGED)
    report = pd.DataFrame({"path": left_out["given"], "reason": why})
    return Store(folder, sample_rate, found[is_usable]), report


def default_cache() -> Path:
    """Return $GENRE_ZOO_CACHE, else the folder genre-zoo in $XDG_CACHE_HOME or ~/.cache."""
    if cache := os.environ.get("GENRE_ZOO_CACHE"):
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "genre-zoo"


def _folder(cache: Path, sample_rate: int) -> Path:
    return Path(cache) / "store" / str(sample_rate)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _find(folder: Path, paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return one row per file: given, KEY and its entry; the column shard is NaN without one."""
    given = list(dict.fromkeys(map(str, paths)))
    files = pd.DataFrame({"given": pd.array(given, "str")})
    files["path"] = pd.array([str(Path(path).absolute()) for path in given], "str")
    stats = np.array([_stat(path) for path in given], np.int64)
    files[["size", "mtime_ns"]] = stats.reshape(-1, 2)
    return files.merge(_index(folder), on=KEY, how="left")


def _stat(path: str) -> tuple[int, int]:
    try:
        stat = Path(path).stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _index(folder: Path) -> pd.DataFrame:
    tables = [INDEX.append(pa.field("shard", pa.string())).empty_table()]
    for file in sorted(folder.glob("*.parquet")):
        try:
            tables.append(_read_index(file))
        except (OSError, ValueError, KeyError, EOFError, pa.ArrowException) as error:
            warnings.warn(f"{file} or its .npy is damaged and ignored: {error}", stacklevel=4)
    return pa.concat_tables(tables).to_pandas().drop_duplicates(KEY)


def _read_index(file: Path) -> pa.Table:
    with pq.ParquetFile(file) as parquet:
        table = parquet.read().select(INDEX.names).cast(INDEX)
    samples = np.load(file.with_suffix(".npy"), mmap_mode="r")
    if samples.dtype != np.int16 or samples.shape != (sum(table["length"].to_pylist()),):
        raise ValueError("they disagree")
    return table.append_column("shard", pa.array([file.stem] * len(table), pa.string()))


def _add(
    keys: list[Key], folder: Path, sample_rate: int, workers: int, progress: bool
) -> dict[str, str]:
    """Decode the files into new shards; return path -> reason for those that cannot be used."""
    reasons: dict[str, str] = {}
    tracks: list[tuple[Key, Samples]] = []
    num_bytes = 0
    results = _decoded(keys, sample_rate, workers)
    try:
        for key, result in tqdm(results, "decoding", len(keys), unit="track", disable=not progress):
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


def _decoded(
    keys: list[Key], sample_rate: int, workers: int
) -> Iterator[tuple[Key, Samples | str]]:
    """Yield samples or the reason against, in order; at most 4 tracks per worker are in memory.

    Threads do, because reading, decoding and resampling release the interpreter's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = ((key, pool.submit(_decode, key, sample_rate)) for key in keys)
        waiting = deque(islice(futures, 4 * workers))
        while waiting:
            key, future = waiting.popleft()
            yield key, future.result()
            waiting.extend(islice(futures, 1))


def _decode(key: Key, sample_rate: int) -> Samples | str:
    path, size, mtime_ns = key
    try:
        samples = decode(path, sample_rate)
    except AudioError as error:
        return str(error)
    return samples if _stat(path) == (size, mtime_ns) else CHANGED


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
    with _explained(folder):
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
    with _explained(folder):
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
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be written ({error.strerror or error}): "
            "name another one, for example in the environment variable GENRE_ZOO_CACHE."
        ) from error
