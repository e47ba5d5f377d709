"""The sounds of the guide: excerpts of `synth`, tones, and what is left of a sound in a picture.

What a front end forgets is best heard: each spectrogram is turned back into sound, by Griffin and
Lim's algorithm where it has frequencies of a Fourier transform, else by a sine at each note.
"""

from functools import cache

import numpy as np
import torch
from torchaudio.functional import griffinlim, melscale_fbanks

import zoo
from zoo.datasets.synth import compose, random_of
from zoo.datasets.synth_score import render
from zoo.datasets.synth_sounds import SAMPLE_RATE as RATE

SECONDS = 5.0
HOP = 256
EXCERPT = "jazz"
ARTIST = "artist00"
C1, C4 = 32.70, 261.63  # Hz


def loud(x_T: np.ndarray, peak: float = 0.7) -> np.ndarray:
    """Return the sound with a given peak."""
    return (peak * x_T / np.abs(x_T).max()).astype(np.float32)


@cache
def excerpt(genre: str = EXCERPT) -> np.ndarray:
    """Return the beginning of a track of `synth`."""
    piece = compose(ARTIST, genre, 0).piece
    return loud(render(piece, SECONDS, random_of("noise", f"{ARTIST}/{genre}_0")) / 2**15)


def tone(overtones: int, seconds: float = 2.0, hertz: float = 220.0) -> np.ndarray:
    """Return a tone of so many partials, each 1/n as strong as the first."""
    t = np.arange(round(seconds * RATE)) / RATE
    x_T = sum(np.sin(2 * np.pi * n * hertz * t) / n for n in range(1, overtones + 1))
    fade = np.clip(np.minimum(t, seconds - t) / 0.02, 0, 1)
    return loud(x_T * fade)


def features(frontend: str, *overrides: str, genre: str = EXCERPT) -> np.ndarray:
    """Return what a front end makes of an excerpt `[F,N]`."""
    made = zoo.create_model("linear", frontend=frontend, overrides=overrides).frontend
    with torch.no_grad():
        return made(torch.from_numpy(excerpt(genre))[None])[0, 0].numpy()


def from_power(power_KN: torch.Tensor, n_fft: int) -> np.ndarray:
    """Return a sound with about this power spectrogram (Griffin, Lim 1984)."""
    window = torch.hann_window(n_fft)
    length = round(SECONDS * RATE)
    settings = (window, n_fft, HOP, n_fft, 2.0, 60, 0.99, length, False)
    return loud(griffinlim(power_KN.contiguous(), *settings).numpy())


def from_mel(decibels_FN: np.ndarray, n_fft: int) -> np.ndarray:
    """Return a sound with about this mel spectrogram: each band is spread over its filter."""
    n_mels = len(decibels_FN)
    filters_KF = melscale_fbanks(n_fft // 2 + 1, 0.0, RATE / 2, n_mels, RATE)
    power_FN = 10 ** (torch.from_numpy(decibels_FN).float() / 10)
    share_KF = filters_KF / filters_KF.square().sum(0).clamp(min=1e-3)
    return from_power(share_KF @ power_FN, n_fft)


def from_notes(level_FN: np.ndarray, hertz_F: np.ndarray) -> np.ndarray:
    """Return a sine at each frequency, as strong as its row."""
    t_T = np.arange(round(SECONDS * RATE)) / RATE
    t_N = np.arange(level_FN.shape[1]) * HOP / RATE
    waves = (
        np.interp(t_T, t_N, level_N) * np.sin(2 * np.pi * (hertz * t_T + 0.61 * i * i))
        for i, (level_N, hertz) in enumerate(zip(level_FN, hertz_F, strict=True))
    )
    return loud(sum(waves))


def of_mel() -> np.ndarray:
    """What is left in `mel`: no phase, and bands instead of frequencies."""
    return from_mel(features("mel"), 512)


def of_mfcc() -> np.ndarray:
    """What is left in `mfcc`: the smooth shape of the spectrum, and hardly a pitch."""
    mfcc_CN = features("mfcc")
    n, c, f = 64, np.arange(len(mfcc_CN))[:, None], np.arange(64)
    dct_CF = np.sqrt(2 / n) * np.cos(np.pi * c * (f + 0.5) / n)
    dct_CF[0] /= np.sqrt(2)
    return from_mel(dct_CF.T @ mfcc_CN, 1024)


def of_cqt() -> np.ndarray:
    """What is left in `cqt`: notes, and hardly a drum."""
    decibels_FN = features("cqt")
    level_FN = 10 ** ((decibels_FN - decibels_FN.max()) / 20)
    return from_notes(level_FN, C1 * 2 ** (np.arange(len(level_FN)) / 12))


def of_chroma() -> np.ndarray:
    """What is left in `chroma`: pitch classes, all in one octave, here as loud as the music."""
    chroma_FN, power_FN = features("chroma"), 10 ** (features("cqt") / 10)
    loudness_N = np.sqrt(power_FN.sum(0))
    return from_notes(chroma_FN**2 * loudness_N, C4 * 2 ** (np.arange(12) / 12))
