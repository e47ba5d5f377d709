"""Speed of reading: batches from the store, against what one would do without it."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.speed_data import KINDS, RATE, write_tracks
from benchmarks.timing import Ratio, in_turn, times_as_fast
from zoo import runtime
from zoo.decoding import prepare
from zoo.scores import to_waveform

CHUNK = 3 * RATE  # samples
BATCH = 64


@contextmanager
def without_stderr() -> Iterator[None]:
    """Send to nowhere what C libraries write to stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def random_chunks(suffix: str) -> tuple[Ratio, Ratio]:
    """Batches from the store: against seeking in each file, and against one contiguous copy of
    as many bytes from a random place."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        files = write_tracks(Path(name), BATCH, suffix, RATE, 1)
        store, _ = prepare([str(file) for file in files], RATE, Path(name) / "cache")
        shard = np.load(next((Path(name) / "cache").rglob("*.npy")), mmap_mode="r").view(np.ndarray)

        def draw() -> tuple[np.ndarray, np.ndarray]:
            rows = random.integers(len(store), size=BATCH)
            return rows, random.integers(store.lengths[rows] - CHUNK)

        def from_store() -> None:
            for _ in range(20):
                store.gather(*draw(), CHUNK)

        def from_files() -> None:
            for row, start in zip(*draw(), strict=True):
                with soundfile.SoundFile(files[row]) as file:
                    file.seek(start)
                    file.read(CHUNK, dtype="int16")

        def quietly() -> None:  # libmpg123 complains of what it finds before the first frame
            with without_stderr():
                from_files()

        def copy() -> None:
            for _ in range(20):
                start = random.integers(len(shard) - BATCH * CHUNK)
                shard[start : start + BATCH * CHUNK].copy()

        seeking = times_as_fast(from_store, quietly)
        copying = times_as_fast(from_store, copy)
        return Ratio(tuple(20 * value for value in seeking.values)), copying


class Files(Dataset[Tensor]):
    """Random chunks [T] read from files by soundfile and resampled: item by item, as is usual."""

    def __init__(self, files: list[Path], num_items: int, whole: bool) -> None:
        """Decode the `whole` file for a chunk of it, or seek to the chunk."""
        self.files, self.num_items, self.whole = files, num_items, whole
        self.infos = [soundfile.info(file) for file in files]

    def __len__(self) -> int:
        """Return the number of items."""
        return self.num_items

    def __getitem__(self, item: int) -> Tensor:
        """Return a chunk, drawn by `item`."""
        random = np.random.default_rng(item)
        number = random.integers(len(self.files))
        info = self.infos[number]
        length = round(CHUNK / RATE * info.samplerate)
        start = int(random.integers(info.frames - length))
        span = {} if self.whole else {"start": start, "frames": length}
        x_NC, rate = soundfile.read(self.files[number], dtype="float32", always_2d=True, **span)
        x_T = (x_NC[:, 0] + x_NC[:, 1]) * 0.5 if x_NC.shape[1] == 2 else x_NC[:, 0]
        x_T = soxr.resample(x_T, rate, RATE)
        first = round(start / rate * RATE) if self.whole else 0
        return torch.from_numpy(np.resize(x_T[first : first + CHUNK], CHUNK))


def delivered(kind: str) -> dict[str, Ratio]:
    """Return how many times as many clips a second the store brings to the device in batches of
    float32 as other ways do, by their names."""
    device, random = runtime.processes().device, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        files = write_tracks(Path(name), BATCH, *KINDS[kind])
        store, _ = prepare(files, RATE, Path(name) / "cache", progress=False)

        def ours() -> None:
            for _ in range(50):
                rows = random.integers(len(store), size=BATCH)
                starts = random.integers(store.lengths[rows] - CHUNK)
                to_waveform(store.gather(rows, starts, CHUNK), device)

        def theirs(num_batches: int, whole: bool, workers: int = 0) -> Callable[[], None]:
            items = Files(files, num_batches * BATCH, whole)
            loader = DataLoader(items, BATCH, num_workers=workers, persistent_workers=workers > 0)

            def load() -> None:
                with without_stderr():
                    for x_BT in loader:
                        x_BT.to(device)

            return load

        cores = os.cpu_count() or 1
        num_batches = {"seeking": 4, "decoding each file whole": 1, f"{cores} workers that seek": 8}
        ways = (theirs(4, False), theirs(1, True), theirs(8, False, cores))
        spent = np.array(in_turn(ours, *ways)).T / [[50], *([n] for n in num_batches.values())]
    return {
        way: Ratio(tuple(seconds / spent[0]))
        for way, seconds in zip(num_batches, spent[1:], strict=True)
    }
