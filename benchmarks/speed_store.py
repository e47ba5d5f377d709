"""A store of a million tracks: how soon it is open, and what memory reading it takes."""

import gc
import re
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.timing import Ratio, seconds
from zoo.decoding import SHARD_BYTES
from zoo.index import INDEX, npy_header
from zoo.shards import merge_index
from zoo.store import Store, folder_of

RATE = 16_000  # Hz
LENGTH = 30 * RATE  # samples of a track
IN_SHARD = SHARD_BYTES // (2 * LENGTH)  # tracks


def write_sparse(cache: Path, num_tracks: int) -> list[str]:
    """Write a store of silence that takes no room on the disk, its index apart; return the paths
    of the tracks, which are nowhere."""
    folder = folder_of(cache, RATE)
    folder.mkdir(parents=True)
    paths = [f"/data/music/{i // 1000:03d}/{i:06d}.mp3" for i in range(num_tracks)]
    for start in range(0, num_tracks, IN_SHARD):
        part = paths[start : start + IN_SHARD]
        file = folder / f"{uuid.uuid4().hex}.npy"
        with file.open("wb") as npy:
            npy.write(npy_header(len(part) * LENGTH))
            npy.truncate(npy.tell() + 2 * len(part) * LENGTH)
        pq.write_table(pa.table(_entries(part), INDEX), file.with_suffix(".parquet"))
    merge_index(folder)
    return paths


def _entries(paths: list[str]) -> dict[str, object]:
    num, random = len(paths), np.random.default_rng(len(paths))
    return {
        "path": paths,
        "size": random.integers(2**19, 2**20, num),
        "mtime_ns": random.integers(10**18, 2 * 10**18, num),
        "sample_rate": np.full(num, RATE),
        "offset": np.arange(num) * LENGTH,
        "length": np.full(num, LENGTH),
        "content_hash": [uuid.uuid4().hex for _ in paths],
    }


def opening(cache: Path, paths: list[str], rounds: int = 7) -> Ratio:
    """Return the seconds that opening takes, the paths in any order as a manifest has them."""
    mixed = pd.Series(np.random.default_rng(0).permutation(paths), dtype="str")
    opened = partial(Store.open, cache, RATE, mixed)
    return Ratio(tuple(seconds(opened) for _ in range(rounds)), " s")


def growth(store: Store, num_batches: int = 2_000, batch: int = 16) -> tuple[Ratio, float]:
    """Return by how many MB the process's own memory grows from the first tenth of random batches
    to each later one, and the MB of its page tables at the end (Linux).

    What is mapped counts as the kernel's cache, which it takes back when it needs room.
    """
    random = np.random.default_rng(0)
    taken = []
    for number in range(num_batches):
        rows = random.integers(len(store), size=batch)
        store.gather(rows, random.integers(LENGTH - 3 * RATE, size=batch), 3 * RATE)
        if (number + 1) % (num_batches // 10) == 0:
            gc.collect()
            taken.append(_megabytes("RssAnon"))
    return Ratio(tuple(later - taken[0] for later in taken[1:]), " MB"), _megabytes("VmPTE")


def _megabytes(name: str) -> float:
    status = Path("/proc/self/status").read_text("utf-8")
    found = re.search(rf"^{name}:\s*(\d+) kB", status, re.MULTILINE)
    assert found, f"no {name} in /proc/self/status"
    return int(found[1]) / 1000
