"""Writing the store: shards, complete or not there, and the one index of many."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from zoo.audio import content_hash
from zoo.errors import InputError
from zoo.index import (
    HEADER_BYTES,
    INDEX,
    KEY,
    Key,
    Samples,
    loose_shards,
    merged_file,
    npy_header,
    read_index,
    read_merged,
)

MOST_LOOSE = 64  # shards whose indices are read one by one, at about 1 ms each


class Writer:
    """Writes tracks into shards of at most `shard_bytes`, or of one longer track.

    Samples go to the disk as they come, so that memory does not grow with the shard.
    """

    def __init__(self, folder: Path, sample_rate: int, shard_bytes: int, name: str = "") -> None:
        """Let the names of the shards begin with `name`."""
        self._folder, self._sample_rate, self._name = folder, sample_rate, name
        self._most = shard_bytes // 2  # samples
        self._npy: BinaryIO | None = None
        self._entries: list[dict[str, Any]] = []
        self._num_samples = 0

    def add(self, key: Key, samples_T: Samples) -> None:
        """Add a track. Raises `InputError` if it cannot be written; then the shard is lost."""
        if self._num_samples + len(samples_T) > self._most:
            self.finish()
        entry = dict(zip(KEY, key, strict=True)) | {
            "sample_rate": self._sample_rate,
            "offset": self._num_samples,
            "length": len(samples_T),
            "content_hash": content_hash(samples_T),
        }
        with explained(self._folder):
            try:
                if self._npy is None:
                    temporary = self._folder / f"{self._name}{uuid.uuid4().hex}.npy.tmp"
                    self._npy = temporary.open("wb")
                    self._npy.write(npy_header(0))
                self._npy.write(samples_T.data)
            except OSError:
                self._forget()
                raise
        self._entries.append(entry)
        self._num_samples += len(samples_T)

    def finish(self) -> None:
        """Complete the shard that is being filled, if any. Raises `InputError` as `add` does."""
        try:
            if self._npy is not None and self._entries:
                with explained(self._folder):
                    self._complete(self._npy)
        finally:
            self._forget()

    def _complete(self, npy: BinaryIO) -> None:
        """Give both files their names; without its index a shard does not exist for readers."""
        npy.truncate(HEADER_BYTES + 2 * self._num_samples)  # half a track, if interrupted
        npy.seek(0)
        npy.write(npy_header(self._num_samples))
        npy.flush()
        os.fsync(npy.fileno())
        npy.close()
        file = Path(npy.name).with_suffix("")
        Path(npy.name).replace(file)
        with complete(file.with_suffix(".parquet")) as parquet:
            pq.write_table(pa.Table.from_pylist(self._entries, INDEX), parquet)

    def _forget(self) -> None:
        if self._npy is not None:
            with suppress(OSError):  # the disk is full
                self._npy.close()
            Path(self._npy.name).unlink(missing_ok=True)
        self._npy, self._entries, self._num_samples = None, [], 0


def merge_index(folder: Path) -> None:
    """Write the indices of all shards into one file, if there are many that it does not hold."""
    files = (file.name for file in folder.iterdir())
    if len(loose_shards(read_merged(folder), files)) > MOST_LOOSE:
        columns = ["sample_rate", "shard"]  # paths and hashes do not repeat
        with explained(folder), complete(merged_file(folder)) as file:
            pq.write_table(read_index(folder), file, compression="zstd", use_dictionary=columns)


@contextmanager
def complete(file: Path) -> Iterator[BinaryIO]:
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
def explained(folder: Path) -> Iterator[None]:
    """Turn an `OSError` into the sentence that says which folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache folder {folder} cannot be written ({error.strerror or error}): "
            "name another one, for example in the environment variable GENRE_ZOO_CACHE."
        ) from error
