"""Tempo and key of a track, estimated: often right for pop, and never sure."""

from typing import NamedTuple

import librosa
import numpy as np

RATE = 22_050  # Hz, of the waveform that they are estimated from
HOP = 512
PITCHES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
KEYS = tuple(f"{pitch} {mode}" for mode in ("major", "minor") for pitch in PITCHES)
CLEAR = 0.6  # of the correlation: below it a track has no clear key
UNCLEAR = "no clear key"
LEAST_SECONDS = 3.0  # for a tempo


class Key(NamedTuple):
    """A key, and how well the track's pitch classes correlate with its profile, -1 to 1."""

    name: str
    correlation: float


def key(chroma_C: np.ndarray) -> Key:
    """Return the key whose profile (Krumhansl 1990, table 2.1: of Krumhansl and Kessler 1982)
    correlates best with the strengths of the twelve pitch classes, from C on `[12]`."""
    profiles = [np.roll(mode, shift) for mode in (MAJOR, MINOR) for shift in range(12)]
    if np.ptp(chroma_C) < 1e-9:
        return Key(UNCLEAR, 0.0)
    correlation_K = np.array([np.corrcoef(profile, chroma_C)[0, 1] for profile in profiles])
    best = int(correlation_K.argmax())
    name = KEYS[best] if correlation_K[best] >= CLEAR else UNCLEAR
    return Key(name, float(correlation_K[best]))


def chroma(x_T: np.ndarray) -> np.ndarray:
    """Return the mean strengths of the pitch classes of a waveform at `RATE` `[12]`; tuning is
    estimated."""
    return librosa.feature.chroma_stft(y=x_T, sr=RATE, n_fft=4096, hop_length=2048).mean(1)


def tempo(level_MN: np.ndarray) -> float:
    """Return beats a minute, from mel levels in dB at `RATE` with `HOP` samples between frames
    `[M,N]`: the strongest period of the onsets (librosa); NaN of less than 3 s, and without onsets.
    """
    onset_N = librosa.onset.onset_strength(S=level_MN, sr=RATE, hop_length=HOP)
    if level_MN.shape[1] * HOP < LEAST_SECONDS * RATE or onset_N.max() <= 1e-6:
        return float("nan")
    return float(librosa.feature.tempo(onset_envelope=onset_N, sr=RATE, hop_length=HOP)[0])
