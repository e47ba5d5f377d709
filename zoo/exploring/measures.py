"""What is measured of a track: the length of the whole, and the rest of a minute in its middle."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import librosa
import numpy as np
import pyloudnorm
import soxr

from zoo.audio import FULL_SCALE
from zoo.exploring import spectrum, tonality

RATE = 44_100  # Hz, of all that is measured
MOST_SECONDS = 60  # of a track, in its middle
CLIPPED_RUN = 3  # samples one after the other at full scale: one alone may be a peak
STEP = 0.1  # seconds, of the frames that are silent or not
SILENCE = -60.0  # dBFS, root mean square of a frame
NUM_MFCC, NUM_MELS = 20, 64


class About(NamedTuple):
    """A measure: its name and unit on the page, and how it is defined."""

    title: str
    unit: str
    definition: str


MEASURES = {
    "seconds": About("Duration", "s", "of the whole track"),
    "loudness": About(
        "Loudness",
        "LUFS",
        "integrated, ITU-R BS.1770-4 (pyloudnorm), of the mean of the channels: 3 LU below that of "
        "a stereo file whose channels are alike",
    ),
    "peak": About("Peak", "dBFS", "of the samples; 0 is full scale"),
    "clipped": About("Clipping", "% of samples", f"in runs of {CLIPPED_RUN} or more at full scale"),
    "silence": About("Silence", "% of time", f"frames of {STEP:g} s below {SILENCE:g} dBFS"),
    "level_range": About("Level range", "dB", "95th less 10th percentile of frames with sound"),
    "bandwidth": About(
        "Bandwidth",
        "kHz",
        f"the highest frequency at which the mean spectrum, smoothed over {spectrum.SMOOTH:g} Hz, "
        f"is within {spectrum.RANGE:g} dB of its highest and {spectrum.ABOVE_ROUNDING:g} dB above "
        "the noise of 16 bits; MP3s cut at 11 to 20 kHz, and stay cut when they are made FLAC",
    ),
    "tempo": About("Tempo", "beats/min", "librosa's estimate; half and double are taken for it"),
}


@dataclass(frozen=True)
class Measured:
    """What one track gives."""

    values: dict[str, float]  # by the names of `MEASURES`; NaN where there is none
    key: tonality.Key
    thirds_B: np.ndarray  # dB of the power, see `spectrum.thirds`
    features_D: np.ndarray  # of its sound, for maps and classifiers


def middle(samples_T: np.ndarray) -> np.ndarray:
    """Return the samples that are measured, at most `MOST_SECONDS`."""
    spare = max(0, len(samples_T) - MOST_SECONDS * RATE)
    return samples_T[spare // 2 : len(samples_T) - (spare - spare // 2)]


def measure(samples_T: np.ndarray, seconds: float) -> Measured:
    """Measure int16 mono samples at `RATE`, out of a track of so many seconds."""
    x_T = samples_T.astype(np.float32) / FULL_SCALE
    hz_F, power_F = spectrum.mean_power(x_T, RATE)
    low_T = soxr.resample(x_T, RATE, tonality.RATE)
    mel_MN = librosa.feature.melspectrogram(
        y=low_T, sr=tonality.RATE, n_fft=2048, hop_length=tonality.HOP, n_mels=NUM_MELS
    )
    level_MN = librosa.power_to_db(mel_MN, amin=1e-10, top_db=None)
    levels_N = frame_levels(x_T)
    values = {
        "seconds": seconds,
        "loudness": loudness(x_T),
        "peak": decibels(float(np.abs(x_T).max())),
        "clipped": 100 * clipped(samples_T),
        "silence": 100 * float((levels_N < SILENCE).mean()),
        "level_range": level_range(levels_N),
        "bandwidth": spectrum.bandwidth(hz_F, power_F) / 1000,
        "tempo": tonality.tempo(level_MN),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa says that silence has no tuning
        key = tonality.key(tonality.chroma(low_T))
    return Measured(values, key, spectrum.thirds(hz_F, power_F), features(level_MN, levels_N))


def decibels(amplitude: float) -> float:
    """Return dB of full scale."""
    return 20 * float(np.log10(max(amplitude, 1e-10)))


def loudness(x_T: np.ndarray) -> float:
    """Return the integrated loudness in LUFS; NaN below the gate, or of less than 0.4 s."""
    if len(x_T) < 0.4 * RATE:
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(pyloudnorm.Meter(RATE).integrated_loudness(x_T))
    return value if np.isfinite(value) else float("nan")


def clipped(samples_T: np.ndarray) -> float:
    """Return the share of int16 samples in runs of `CLIPPED_RUN` or more at full scale, 0 to 1."""
    is_full_T = (samples_T >= FULL_SCALE - 1) | (samples_T <= -FULL_SCALE)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_full_T.view(np.int8), [0]])))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIPPED_RUN].sum() / len(samples_T))


def frame_levels(x_T: np.ndarray) -> np.ndarray:
    """Return the root mean square in dBFS of each frame of `STEP` seconds `[N]`."""
    step = min(len(x_T), round(STEP * RATE))
    frames = x_T[: len(x_T) // step * step].reshape(-1, step)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def level_range(levels_N: np.ndarray) -> float:
    """Return how far levels in dBFS go apart in dB, without silence."""
    sounding_N = levels_N[levels_N >= SILENCE]
    return float(np.subtract(*np.percentile(sounding_N, [95, 10]))) if len(sounding_N) else 0.0


def features(level_MN: np.ndarray, levels_N: np.ndarray) -> np.ndarray:
    """Return means and deviations of 20 cepstral coefficients of mel levels in dB, how much they
    change from frame to frame, and the range of levels `[D]`."""
    mfcc_CN = librosa.feature.mfcc(S=level_MN, n_mfcc=NUM_MFCC)
    change_C = np.abs(np.diff(mfcc_CN, axis=1, append=mfcc_CN[:, -1:])).mean(1)
    parts = [mfcc_CN.mean(1), mfcc_CN.std(1), change_C, [level_range(levels_N)]]
    return np.concatenate(parts).astype(np.float32)
