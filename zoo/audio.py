"""From an audio file to mono int16 samples at one rate, or to the reason why it cannot be used."""

import hashlib
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".au", ".aif", ".aiff"}
)
FULL_SCALE = 2**15  # int16
SILENCE_PEAK = FULL_SCALE * 10 ** (-80 / 20)  # -80 dB of full scale
MIN_SECONDS = 0.1
MAX_MISSING = 0.01  # share of the announced length; encoders are out by a frame or two
BLOCK_FRAMES = 2**16  # 1.5 s at 44.1 kHz; larger blocks leave the processor's cache

NO_LENGTH = 2**31 - 2**16  # bytes: programs that write to a pipe announce this or more
MISLEADING_WORDS = {7: "Format not recognised."}  # libsndfile: "File does not exist or is not ..."


class AudioError(Exception):
    """A file cannot be used; the message is the reason and reads on from the file's name."""


def decode(path: str | PathLike[str], sample_rate: int) -> NDArray[np.int16]:
    """Return the whole file as mono int16 [T] at `sample_rate` Hz.

    The mean of the channels, resampled with soxr HQ; memory is bounded by the result. An int16 mono
    WAV that has this rate comes back bit for bit. Ogg announces no length, and MP3 only in a Xing
    or Info frame at its start: without it, a cut file passes for a short one, and libsndfile may
    stop early where the bit rate varies.

    Raises:
        AudioError: missing, empty, not audio, cut short, silent, shorter than 0.1 s, or not finite.
    """
    path = Path(path)
    _check_file(path)
    try:
        file = _Stream(path)
    except sf.LibsndfileError as error:
        raise AudioError(f"cannot be decoded: {_words(error)}") from error
    with file:
        if file.format == "RAW":  # libsndfile's guess for .au, .vox and others without a header
            raise AudioError("cannot be decoded: Format not recognised.")
        blocks = _resampled(_mono_blocks(file, path), file.samplerate, sample_rate)
        samples = np.concatenate([np.empty(0, np.int16), *map(to_int16, blocks)])
    if len(samples) < MIN_SECONDS * sample_rate:
        raise AudioError(f"is shorter than {MIN_SECONDS} s")
    if max(int(samples.max()), -int(samples.min())) < SILENCE_PEAK:
        raise AudioError("is silent (peak below -80 dB of full scale)")
    return samples


def to_int16(x_T: NDArray[np.floating]) -> NDArray[np.int16]:
    """Return finite samples of [-1, 1) as int16: times 32,768, rounded to nearest, clipped."""
    scaled_T = x_T * FULL_SCALE
    np.rint(scaled_T, out=scaled_T)
    np.clip(scaled_T, -FULL_SCALE, FULL_SCALE - 1, out=scaled_T)
    return scaled_T.astype(np.int16)


def content_hash(samples_T: NDArray[np.int16]) -> str:
    """Return the first 32 hex digits of the samples' SHA-256: the same under any file name."""
    return hashlib.sha256(samples_T.data).hexdigest()[:32]


class _Stream(sf.SoundFile):
    """A file read once from start to end.

    In a seekable one soundfile seeks after every block. In MP3 that garbles the next thousand
    samples, because frames borrow bits from frames before them.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


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
    except OSError as error:
        raise AudioError(f"cannot be opened: {error.strerror}") from error
    if path.suffix.lower() == ".raw":
        raise AudioError("cannot be decoded: .raw says neither its rate nor its channels")


def _mono_blocks(file: sf.SoundFile, path: Path) -> Iterator[NDArray[np.float32]]:
    num_frames = 0
    while len(x_TC := _read(file)):
        num_frames += len(x_TC)
        mono_T = _mono(x_TC)
        if not np.isfinite(mono_T).all():
            raise AudioError("has NaN or infinite samples")
        yield mono_T
    announced = _announced_frames(file, path)
    if num_frames < announced * (1 - MAX_MISSING):
        seconds, promised = num_frames / file.samplerate, announced / file.samplerate
        raise AudioError(f"is cut short: {seconds:.2f} s of {promised:.2f} s")


def _read(file: sf.SoundFile) -> NDArray[np.float32]:
    try:
        return file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
    except sf.LibsndfileError as error:
        raise AudioError(f"is cut short or damaged: {_words(error)}") from error


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


def _announced_frames(file: sf.SoundFile, path: Path) -> float:
    """Return how many frames the file's header promises, 0 where it promises nothing."""
    if file.format == "MP3" and not _has_length_frame(path):
        return 0
    # libsndfile counts what is there in WAV, AU and AIFF; its log alone tells what was announced
    sizes = re.search(r"(?:data|Data Size|SSND)\s*: (\d+) \(should be (\d+)\)", file.extra_info)
    if sizes and file.frames:
        announced, present = map(int, sizes.groups())
        return file.frames * announced / present if announced < NO_LENGTH else 0
    return file.frames if file.frames < 2**62 else 0  # FLAC written to a pipe has no length


def _has_length_frame(path: Path) -> bool:
    """Whether an MP3 opens with a Xing or Info frame: without one libsndfile guesses its length."""
    with path.open("rb") as file:
        head = file.read(10)
        is_tagged = head.startswith(b"ID3")  # ID3v2 keeps its size in four times seven bits
        file.seek(10 + sum(byte << 7 * i for i, byte in enumerate(head[:5:-1])) if is_tagged else 0)
        start = file.read(4096)
    return b"Xing" in start or b"Info" in start


def _words(error: sf.LibsndfileError) -> str:
    words = MISLEADING_WORDS.get(error.code, error.error_string)
    return " ".join(words.removeprefix("Error : ").split())
