"""Whether two waveforms are the same audio: normalised cross-correlation around a known shift."""

from typing import NamedTuple

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RATE = 4_000  # Hz, at which waveforms are compared
SLACK = round(0.2 * RATE)  # samples that a given shift may be out
PIECE = 2**15  # samples for one FFT: fits in the processor's cache
STEP = PIECE - 2 * SLACK

BINS = 16  # of the FFT that are summed to one: delays of 2 samples hardly turn within 2 Hz
FREQUENCIES = np.fft.rfftfreq(PIECE, 1 / RATE)[:-1].reshape(-1, BINS).mean(axis=1)  # [F], Hz
BANDS = np.searchsorted(FREQUENCIES, [20, 62.5, 125, 250, 500, 1000])  # first of each; to 2 kHz
MIN_SHARE = 0.02  # of the energy: codecs leave out or spoil what is softer and masked
DELAYS = np.arange(-16, 17) / 8  # samples: at 2 kHz a half is much, and the best may be two away
TURNS_DF = np.exp(2j * np.pi / RATE * DELAYS[:, None] * FREQUENCIES)

Waveform = NDArray[np.float32]


class Match(NamedTuple):
    """What two waveforms have in common when the second begins `shift` s after the first."""

    correlation: float  # 0 to 1
    shift: float
    overlap: float  # s


def waveform(samples_T: NDArray[np.int16], sample_rate: int) -> Waveform:
    """Return samples at `RATE`."""
    return soxr.resample(samples_T.astype(np.float32), sample_rate, RATE)


def correlate(x_T: Waveform, y_T: Waveform, shift: float) -> Match:
    """Return how x and y correlate over their overlap if y begins about `shift` s after x.

    The best shift within `SLACK` counts, the sign does not. Of the correlations in the octaves that
    matter it is the smallest: a drum loop under two songs is most of their energy, but in the
    octaves of the voice they differ.
    """
    lag = round(shift * RATE)
    lag += _best_lag(np.pad(x_T, SLACK)[max(lag, 0) :], y_T[max(-lag, 0) :])
    x_T, y_T = x_T[max(lag, 0) :], y_T[max(-lag, 0) :]
    length = min(len(x_T), len(y_T))
    x_PF, y_PF = _spectra(x_T[:length], PIECE), _spectra(y_T[:length], PIECE)
    product_F = _summed(x_PF * y_PF.conj())
    energy_2K = _by_band(np.stack([_summed(np.abs(z_PF) ** 2) for z_PF in (x_PF, y_PF)]))
    norm_K = np.sqrt(energy_2K.prod(axis=0))
    matters_K = norm_K > MIN_SHARE * np.sqrt(energy_2K.sum(axis=1).prod())
    if not matters_K.any():
        return Match(0.0, lag / RATE, length / RATE)
    correlation_DK = _by_band((TURNS_DF * product_F).real)[:, matters_K] / norm_K[matters_K]
    least_D = np.maximum(correlation_DK.min(axis=1), (-correlation_DK).min(axis=1))
    best = int(least_D.argmax())
    correlation = float(np.clip(least_D[best], 0, 1))
    return Match(correlation, (lag + float(DELAYS[best])) / RATE, length / RATE)


def _best_lag(around_T: Waveform, b_T: Waveform) -> int:
    """Return the lag within `SLACK` at which b agrees most with what is around it, which begins
    `SLACK` before it.

    The spectra of pieces add up; the root of each bin's magnitude counts, because the correlation
    of a loud note alone is high at each of its periods.
    """
    length = min(len(around_T) - 2 * SLACK, len(b_T))
    b_PF = _spectra(b_T[:length], STEP)
    missing = len(b_PF) * STEP - length
    around_T = np.pad(around_T[: length + 2 * SLACK], (0, missing))
    around_PF = np.fft.rfft(sliding_window_view(around_T, PIECE)[::STEP])
    product_F = np.sum(around_PF * b_PF.conj(), axis=0)
    agreement_T = np.fft.irfft(product_F / np.sqrt(np.maximum(np.abs(product_F), 1e-9)))
    return int(np.abs(agreement_T[: 2 * SLACK + 1]).argmax()) - SLACK


def _spectra(x_T: Waveform, step: int) -> NDArray[np.complexfloating]:
    """Return the spectra [P,F] of pieces of `step` samples, the last filled up with zeros."""
    return np.fft.rfft(np.pad(x_T, (0, -len(x_T) % step)).reshape(-1, step), PIECE)


def _summed(x_PF: np.ndarray) -> np.ndarray:
    """Return the sums over the pieces and over `BINS` neighbours."""
    return x_PF[:, :-1].sum(axis=0).reshape(-1, BINS).sum(axis=1)


def _by_band(x_XF: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.add.reduceat(x_XF, BANDS, axis=1)
