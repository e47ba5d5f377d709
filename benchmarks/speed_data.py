"""Speed of the data: chunks from the store, preparation, and the start of a command."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.timing import Ratio, seconds, times_as_fast
from zoo.datasets import synth
from zoo.decoding import prepare
from zoo.store import Store

RATE = 16_000  # Hz
SECONDS = 30  # of a track
CHUNK = 3 * RATE
BATCH = 64


def write_tracks(folder: Path, num: int, suffix: str, rate: int, channels: int) -> list[Path]:
    """Write tracks of `synth` as files of that kind."""
    files = []
    genres = list(synth.GENRES)
    for number in range(num):
        track = synth.compose(f"artist{number // 8:02d}", genres[number % 8], number)
        x_T = synth.render(track.piece, SECONDS, np.random.RandomState(number)) / 32768
        x_T = soxr.resample(x_T, RATE, rate) if rate != RATE else x_T
        files.append(folder / f"{number}.{suffix}")
        soundfile.write(files[-1], np.stack([x_T] * channels, axis=1), rate)
    return files


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


def plainly(files: list[str]) -> list[np.ndarray]:
    """Decode on one core with soundfile and soxr, as one would without us."""
    decoded = []
    for file in files:
        x_NC, rate = soundfile.read(file, dtype="float32", always_2d=True)
        x_T = soxr.resample((x_NC[:, 0] + x_NC[:, 1]) * 0.5, rate, RATE)
        decoded.append((x_T * 32767).astype(np.int16))
    return decoded


def preparation(rounds: int = 5, tracks: int = 900) -> tuple[Ratio, float]:
    """Preparation on all cores against a plain loop on one, and the plain loop's seconds in all:
    MP3 at 44.1 kHz in stereo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = write_tracks(folder, 16, "mp3", 44_100, 2)
        files = [str(folder / f"copy{number}.mp3") for number in range(tracks)]
        for number, file in enumerate(files):
            shutil.copy(originals[number % len(originals)], file)
        spent = []
        for number in range(rounds):
            cache = folder / f"cache{number}"
            ours = seconds(partial(prepare, files, RATE, cache))
            spent.append((ours, seconds(partial(plainly, files))))
            assert len(Store.open(cache, RATE, files)) == tracks
            shutil.rmtree(cache)
    return Ratio(tuple(b / a for a, b in spent)), sum(b for _, b in spent)


def start_of_help() -> tuple[Ratio, bool]:
    """What `zoo.train --help` takes beyond starting Python, and whether it imports torch."""

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    pairs = [
        (seconds(lambda: run("-m", "zoo.train", "--help")), seconds(lambda: run("-c", "pass")))
        for _ in range(8)
    ]
    imported = run("-X", "importtime", "-m", "zoo.train", "--help")
    return Ratio(tuple(a - b for a, b in pairs[1:]), " s"), "torch" in imported
