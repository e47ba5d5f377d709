"""Speed of preparing data, and of the start of a command."""

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

from benchmarks.timing import Ratio, seconds
from zoo.datasets import synth
from zoo.decoding import prepare
from zoo.store import Store

RATE = 16_000  # Hz
SECONDS = 30  # of a track
KINDS = {  # suffix, rate in Hz, channels: as FMA has them, and as GTZAN
    "MP3, 44.1 kHz, stereo": ("mp3", 44_100, 2),
    "WAV, 22.05 kHz, mono": ("wav", 22_050, 1),
}


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


def plainly(files: list[str]) -> list[np.ndarray]:
    """Decode on one core with soundfile and soxr, as one would without us."""
    decoded = []
    for file in files:
        x_NC, rate = soundfile.read(file, dtype="float32", always_2d=True)
        x_T = (x_NC[:, 0] + x_NC[:, 1]) * 0.5 if x_NC.shape[1] == 2 else x_NC[:, 0]
        x_T = soxr.resample(x_T, rate, RATE)
        decoded.append((x_T * 32767).astype(np.int16))
    return decoded


@contextmanager
def one_core() -> Iterator[None]:
    """Let this thread, and those that it starts, have one core (Linux)."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def decoding(kind: str, workers: int, num_tracks: int, rounds: int = 5) -> tuple[Ratio, float]:
    """Return how many times as fast as `plainly` a preparation is, files of that kind, and the
    seconds of the plain loop in all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = write_tracks(folder, 16, *KINDS[kind])
        files = [str(folder / f"copy{i}{originals[0].suffix}") for i in range(num_tracks)]
        for number, file in enumerate(files):
            shutil.copy(originals[number % len(originals)], file)
        spent = []
        for number in range(rounds + 1):
            cache = folder / f"cache{number}"
            ours = seconds(partial(prepare, files, RATE, cache, workers, False))
            spent.append((ours, seconds(partial(plainly, files))))
            assert len(Store.open(cache, RATE, files)) == num_tracks
            shutil.rmtree(cache)
    return Ratio(tuple(b / a for a, b in spent[1:])), sum(b for _, b in spent)


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
