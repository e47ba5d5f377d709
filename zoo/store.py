"""Decoded audio, kept as memory-mapped int16: each file is decoded once for each sample rate.

`<cache>/store/<sample_rate>/<name>.npy` holds the samples of many tracks one after the other (a
shard); `<name>.parquet` beside it is its index (`INDEX`), written once the shard is complete.
`<cache>/store/<sample_rate>.parquet` repeats the indices of most shards, to be read at once.
"""

import mmap
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.index import HEADER_BYTES, Samples, distinct, find


def _max_maps() -> int:
    """Return half of the file descriptors that the process may have: each map takes one."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # 1,024 on most Linux, 256 on macOS
    return min(limit // 2, 512) if limit > 0 else 512  # page tables: 1/512 of what is mapped


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

    def __init__(self, folder: Path, sample_rate: int, entries: pa.Table) -> None:
        """Take the columns given, shard, offset, length and content_hash of `entries`."""
        self.folder = folder
        self.sample_rate = sample_rate
        self.lengths: NDArray[np.int64] = entries["length"].to_numpy()
        self._entries = entries.select(["given", "shard", "offset", "length", "content_hash"])
        self._offsets: NDArray[np.int64] = entries["offset"].to_numpy()
        shards = entries["shard"].combine_chunks()
        self._shards: NDArray[np.int32] = shards.indices.to_numpy()
        self._names: list[str] = shards.dictionary.to_pylist()
        self._maps: dict[int, Samples] = {}

    @classmethod
    def open(cls, cache: Path, sample_rate: int, paths: Iterable[str | Path]) -> Self:
        """Return a store of those `paths` that are in `cache`, which is trusted: whether a file
        is there, and is what it was, is not looked at (`zoo.decoding.prepare` does). Writes
        nothing."""
        folder = folder_of(cache, sample_rate)
        found = find(folder, distinct(paths))
        return cls(folder, sample_rate, found.filter(found["shard"].is_valid()))

    @cached_property
    def paths(self) -> list[str]:
        return self._entries["given"].to_pylist()

    @cached_property
    def content_hashes(self) -> list[str]:
        return self._entries["content_hash"].to_pylist()

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.lengths)

    def select(self, rows: NDArray[np.integer]) -> Self:
        """Return a store of these rows of this one, in this order."""
        chosen = type(self)(self.folder, self.sample_rate, self._entries.take(rows))
        chosen._maps = self._maps
        return chosen

    def middle(self, length: int) -> Self:
        """Return a store of the middle `length` samples of each track, or of all where it has no
        more; content hashes stay those of the whole tracks."""
        spare = np.maximum(self.lengths - length, 0)
        changed = {"offset": self._offsets + spare // 2, "length": self.lengths - spare}
        entries = self._entries
        for name, values in changed.items():
            entries = entries.set_column(entries.column_names.index(name), name, pa.array(values))
        cut = type(self)(self.folder, self.sample_rate, entries)
        cut._maps = self._maps
        return cut

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
            copy_chunk(self._track(row), start, chunk)
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
            with (self.folder / f"{self._names[shard]}.npy").open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # np.load takes five times as long, and each slice of its memmap several times
            self._maps[shard] = np.frombuffer(content, np.int16, offset=HEADER_BYTES)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}


def copy_chunk(track_T: Samples, start: int, chunk_T: Samples) -> None:
    """Fill a chunk from `start` on with a track; one that is shorter is repeated."""
    length = len(chunk_T)
    if len(track_T) < length:
        track_T.take(np.arange(start, start + length), mode="wrap", out=chunk_T)
    else:
        chunk_T[:] = track_T[start : start + length]


def default_cache() -> Path:
    """Return $GENRE_ZOO_CACHE, else the folder genre-zoo in $XDG_CACHE_HOME or ~/.cache."""
    if cache := os.environ.get("GENRE_ZOO_CACHE"):
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "genre-zoo"


def folder_of(cache: Path, sample_rate: int) -> Path:
    return Path(cache) / "store" / str(sample_rate)
