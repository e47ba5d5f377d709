"""Decoded audio, kept as memory-mapped int16: each file is decoded once for each sample rate.

`<cache>/store/<sample_rate>/<uuid>.npy` holds the samples of many tracks one after the other (a
shard); `<uuid>.parquet` beside it is its index (`INDEX`), written once the shard is complete.
"""

import copy
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

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
        folder: of the shards, `<cache>/store/<sample_rate>`.
    """

    def __init__(self, folder: Path, sample_rate: int, entries: pd.DataFrame) -> None:
        """Take the columns given, shard, offset, length and content_hash of `entries`."""
        shards, names = pd.factorize(entries["shard"])
        self.folder = folder
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
        folder = folder_of(cache, sample_rate)
        found = find(folder, paths)
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


def default_cache() -> Path:
    """Return $GENRE_ZOO_CACHE, else the folder genre-zoo in $XDG_CACHE_HOME or ~/.cache."""
    if cache := os.environ.get("GENRE_ZOO_CACHE"):
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "genre-zoo"


def folder_of(cache: Path, sample_rate: int) -> Path:
    return Path(cache) / "store" / str(sample_rate)


def find(folder: Path, paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return one row per file: given, KEY and its entry; the column shard is NaN without one."""
    given = list(dict.fromkeys(map(str, paths)))
    files = pd.DataFrame({"given": pd.array(given, "str")})
    files["path"] = pd.array([str(Path(path).absolute()) for path in given], "str")
    stats = np.array([identity(path) for path in given], np.int64)
    files[["size", "mtime_ns"]] = stats.reshape(-1, 2)
    return files.merge(_index(folder), on=KEY, how="left")


def identity(path: str) -> tuple[int, int]:
    """Return size (bytes) and modification time (ns) of a file; -1, -1 if it is not there."""
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
