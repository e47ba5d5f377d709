"""Degraded copies of tracks: made once, and read by every model like any other file."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from benchmarks.degradations import Condition, Waveform
from zoo.audio import FULL_SCALE, AudioError, decode, to_int16
from zoo.datasets.base import Manifest
from zoo.datasets.files import write_once
from zoo.datasets.planting import digest
from zoo.errors import InputError
from zoo.index import identity
from zoo.stream import Stream

VERSION = 1  # raised when a condition sounds different


def degraded(
    manifest: Manifest, condition: Condition, cache: Path, workers: int | None = None
) -> Manifest:
    """Return the tracks with the paths of their degraded copies, made where they are missing by
    `workers` threads. Raises `InputError` for a track that cannot be decoded, and where `cache`
    cannot be written."""
    frame = manifest.frame
    with ThreadPoolExecutor(workers) as pool:
        copies = pool.map(
            lambda path, track: degraded_copy(path, track, condition, cache),
            frame["path"],
            frame["track"],
        )
        shown = tqdm(copies, condition.name, len(frame), unit="track", leave=False, disable=None)
        paths = [str(copy) for copy in shown]
    return replace(manifest, frame=frame.assign(path=paths))


def degraded_copy(path: str, track: str, condition: Condition, cache: Path) -> Path:
    """Return the file with a track's degraded copy (mono FLAC of 16 bits), written once.

    It has the sample rate of the track's file, so that only the condition changes the sound, and
    what is drawn is the same whatever rate a model asks for. Raises `InputError` as `degraded`.
    """
    key = digest(VERSION, Path(path).absolute(), *identity(path), track)
    file = cache / "degraded" / condition.name / f"{key[:32]}.flac"
    if not file.exists():
        x_T, sample_rate = _waveform(path)
        copy_T = to_int16(condition.apply(x_T, sample_rate, track))
        encoded = io.BytesIO()
        soundfile.write(encoded, copy_T, sample_rate, format="FLAC")
        write_once(file, encoded.getvalue())
    return file


def _waveform(path: str) -> tuple[Waveform, int]:
    """Return a file's waveform and its sample rate (Hz)."""
    try:
        with Stream(Path(path)) as stream:
            sample_rate = stream.samplerate
        return (decode(path, sample_rate) / FULL_SCALE).astype(np.float32), sample_rate
    except AudioError as error:
        raise InputError(f"{path} {error}.") from error
