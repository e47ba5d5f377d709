"""From an audio file to mono int16 samples at one rate, or to the reason why it cannot be used."""

import hashlib
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from zoo.stream import AudioError, Stream, Tags

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".au", ".aif", ".aiff"}
)
SAMPLE_BYTES = 2  # int16
FULL_SCALE = 2**15
SILENCE_PEAK = FULL_SCALE * 10 ** (-80 / 20)  # -80 dB of full scale
MAX_SECONDS = 6 * 60 * 60  # of a track of a data set; bounds what one takes of the disk
MIN_SECONDS = 0.1
MAX_MISSING = 0.01  # share of the announced length; encoders are out by a frame or two


def decode(path: str | PathLike[str], sample_rate: int) -> NDArray[np.int16]:
    """Return the whole file as mono int16 [T] at `sample_rate` Hz; `decode_to` says how."""
    decoded = bytearray()  # grows in place: memory never holds the whole twice
    decode_to(path, sample_rate, decoded.extend)
    return np.frombuffer(decoded, np.int16)


def decode_to(
    path: str | PathLike[str],
    sample_rate: int,
    write: Callable[[memoryview], object],
    max_seconds: float = MAX_SECONDS,
) -> Tags:
    """Write the whole file, block by block, as mono int16 at `sample_rate` Hz; return its tags.

    The mean of the channels, resampled with soxr HQ; memory is bounded by a block. An int16 mono
    WAV that has this rate comes back bit for bit. MP3 announces its length only in a Xing or Info
    frame at its start: without it, a cut file passes for a short one.

    Raises:
        AudioError: missing, not audio, damaged, cut short, silent, not finite, too short or long.
    """
    path = Path(path)
    _check_file(path)
    num_samples, peak = 0, 0
    with Stream(path) as stream, np.errstate(over="ignore", invalid="ignore"):
        blocks = _mono_blocks(stream, sample_rate, max_seconds)
        for block_T in _resampled(blocks, stream.samplerate, sample_rate):
            samples_T = to_int16(block_T)
            if len(samples_T):
                peak = max(peak, int(samples_T.max()), -int(samples_T.min()))
            num_samples += len(samples_T)
            write(samples_T.data)
    if num_samples < MIN_SECONDS * sample_rate:
        raise AudioError(f"is shorter than {MIN_SECONDS} s")
    if peak < SILENCE_PEAK:
        raise AudioError("is silent (peak below -80 dB of full scale)")
    return stream.tags


def to_int16(x_T: NDArray[np.floating]) -> NDArray[np.int16]:
    """Return finite samples of [-1, 1) as int16: times 32,768, rounded to nearest, clipped."""
    scaled_T = x_T * FULL_SCALE
    np.rint(scaled_T, out=scaled_T)
    np.clip(scaled_T, -FULL_SCALE, FULL_SCALE - 1, out=scaled_T)
    return scaled_T.astype(np.int16)


def content_hash(samples_T: NDArray[np.int16]) -> str:
    """Return the first 32 hex digits of the samples' SHA-256: the same under any file name."""
    return hashlib.sha256(samples_T.data).hexdigest()[:32]


def _check_file(path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise AudioError("is a directory" if path.is_dir() else "is not a regular file")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError("is empty")
    except FileNotFoundError:
        raise AudioError("does not exist") from None
    except PermissionError:
        raise AudioError("may not be read") from None
    except (OSError, ValueError) as error:  # of ValueError: names with a zero byte
        raise AudioError(f"cannot be opened: {getattr(error, 'strerror', error)}") from error
    if path.suffix.lower() == ".raw":
        raise AudioError("cannot be decoded: .raw says neither its rate nor its channels")


def _mono_blocks(
    stream: Stream, sample_rate: int, max_seconds: float
) -> Iterator[NDArray[np.float32]]:
    rate, announced, num_frames = stream.samplerate, stream.announced_frames(), 0
    _check_length("announces", announced / rate, sample_rate, max_seconds)
    while len(x_TC := stream.read_block()):
        num_frames += len(x_TC)
        _check_length("has", num_frames / rate, sample_rate, max_seconds)  # headers lie
        mono_T = _mono(x_TC)
        if not np.isfinite(mono_T).all():
            raise AudioError("has NaN or infinite samples")
        yield mono_T
    if num_frames < announced * (1 - MAX_MISSING):
        seconds, promised = num_frames / rate, announced / rate
        raise AudioError(f"is cut short: {seconds:.2f} s of {promised:.2f} s")


def _check_length(verb: str, seconds: float, sample_rate: int, max_seconds: float) -> None:
    if seconds > max_seconds:
        minutes, size = max_seconds / 60, max_seconds * sample_rate * SAMPLE_BYTES / 1e6
        most = f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:g} h"
        raise AudioError(f"{verb} more than {most} ({size:,.0f} MB at {sample_rate} Hz)")


def _mono(x_TC: NDArray[np.float32]) -> NDArray[np.float32]:
    if x_TC.shape[1] == 1:
        return x_TC[:, 0]
    if x_TC.shape[1] == 2:  # several times as fast as `mean`
        return (x_TC[:, 0] + x_TC[:, 1]) * np.float32(0.5)
    return x_TC.mean(axis=1)


def _resampled(
    blocks: Iterator[NDArray[np.float32]], rate: int, new_rate: int
) -> Iterator[NDArray[np.float32]]:
    if rate == new_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, new_rate, num_channels=1, quality="HQ")
    for block_T in blocks:
        yield stream.resample_chunk(block_T)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
