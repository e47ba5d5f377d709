"""What the store holds: which track is where in which shard. Reading; `zoo.shards` writes."""

import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
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
SHARDED = INDEX.append(pa.field("shard", pa.dictionary(pa.int32(), pa.string())))
DAMAGED = (OSError, ValueError, KeyError, EOFError, pa.ArrowException)
KEY = ("path", "size", "mtime_ns")
Key = tuple[str, int, int]
Samples = NDArray[np.int16]


def npy_header(num_samples: int) -> bytes:
    """Return what precedes so many samples in a .npy file; NumPy pads it to one size for all."""
    file = io.BytesIO()
    described = {"descr": "<i2", "fortran_order": False, "shape": (num_samples,)}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


HEADER_BYTES = len(npy_header(0))


def distinct(paths: Iterable[str | Path]) -> pa.StringArray:
    """Return the paths as text, without repeats; a Series of pandas is a hundred times as fast as
    a list."""
    if isinstance(paths, pd.Series):
        return pc.unique(pa.array(paths.astype("str"), pa.string()))
    return pc.unique(pa.array([str(path) for path in paths], pa.string()))


def find(folder: Path, given: pa.StringArray, verify: bool = False) -> pa.Table:
    """Return one row per file: given, path (absolute) and its newest entry, null without one, or
    if the file has changed since (`verify`)."""
    index = read_index(folder)
    path, places = given, pc.index_in(given, index["path"])
    if places.null_count:  # of those that are relative or not tidy, if not absent
        spelled = [
            str(Path(name).absolute()) for name in given.filter(places.is_null()).to_pylist()
        ]
        path = pc.replace_with_mask(given, places.is_null(), pa.array(spelled, pa.string()))
        places = pc.index_in(path, index["path"])
    if verify:
        places = pc.if_else(_unchanged(path, index.take(places)), places, None)
    found = index.drop_columns("path").take(places)
    return found.append_column("given", given).append_column("path", path)


def _unchanged(path: pa.Array, entries: pa.Table) -> pa.Array:
    is_known = entries["size"].is_valid().to_pylist()
    files = zip(path.to_pylist(), is_known, strict=True)
    stats = np.array([identity(name) if known else (-1, -1) for name, known in files], np.int64)
    size, mtime_ns = stats.reshape(-1, 2).T
    same = pc.and_(pc.equal(entries["size"], size), pc.equal(entries["mtime_ns"], mtime_ns))
    return same.combine_chunks()


def identity(path: str) -> tuple[int, int]:
    """Return size (bytes) and modification time (ns) of a file; -1, -1 if it is not there."""
    try:
        stat = os.stat(path)  # noqa: PTH116 (half the time of Path's)
    except (OSError, ValueError):  # of ValueError: names with a zero byte
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def merged_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parquet")


def read_merged(folder: Path) -> pa.Table:
    """Return the merged indices of the shards in `folder`; empty if there are none."""
    try:
        return pq.read_table(merged_file(folder), schema=SHARDED)
    except DAMAGED:
        return SHARDED.empty_table()  # it repeats what the shards say


def read_index(folder: Path) -> pa.Table:
    """Return the entries (`SHARDED`) of all shards that are whole, the newest first."""
    merged = read_merged(folder)  # before the folder: what it names is there by then
    try:
        with os.scandir(folder) as entries:
            files = {entry.name: entry for entry in entries}
    except OSError:  # not made yet, or not readable
        return SHARDED.empty_table()
    loose = loose_shards(merged, files)
    loose.sort(key=lambda name: files[f"{name}.parquet"].stat().st_mtime_ns, reverse=True)
    tables = [_read_shard(folder, name) for name in loose]
    index = pa.concat_tables([*tables, merged]).unify_dictionaries().combine_chunks()
    return _whole(index, folder, files)


def loose_shards(merged: pa.Table, files: Iterable[str]) -> list[str]:
    """Return the shards among the names of files that are not in the merged index."""
    known = set(merged["shard"].unique().to_pylist())
    names = (name.removesuffix(".parquet") for name in files if name.endswith(".parquet"))
    return [name for name in names if name not in known]


def _read_shard(folder: Path, name: str) -> pa.Table:
    file = folder / f"{name}.parquet"
    try:
        with pq.ParquetFile(file) as parquet:
            table = parquet.read().select(INDEX.names).cast(INDEX)
    except DAMAGED as error:
        _warn(folder, name, error)
        return SHARDED.empty_table()
    shard = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(table)), [name])
    return table.append_column("shard", shard)


def _whole(index: pa.Table, folder: Path, files: dict[str, os.DirEntry[str]]) -> pa.Table:
    """Return the entries whose shards have both files, and the size that the lengths add up to."""
    if not len(index):
        return index
    shard = index["shard"].chunk(0)
    codes, names = shard.indices.to_numpy(), shard.dictionary.to_pylist()
    sizes = 2 * np.bincount(codes, index["length"].to_numpy(), len(names)) + HEADER_BYTES
    is_whole = np.ones(len(names), bool)
    for i in np.unique(codes).tolist():
        name, size = names[i], sizes[i]
        npy = files.get(f"{name}.npy")
        is_whole[i] = f"{name}.parquet" in files and npy is not None and npy.stat().st_size == size
        if not is_whole[i]:
            _warn(folder, name, "they disagree")
    return index if is_whole.all() else index.filter(pa.array(is_whole[codes]))


def _warn(folder: Path, name: str, reason: object) -> None:
    file = folder / f"{name}.parquet"
    warnings.warn(f"{file} or its .npy is damaged and ignored: {reason}", stacklevel=6)
