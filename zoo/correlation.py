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

FREQUENCIES = np.fft.rfftfreq(PIECE, 1 / RATE)  # [F], Hz
BANDS = np.searchsorted(FREQUENCIES, [20, 62.5, 125, 250, 500, 1000])  # first bins; up to 2 kHz
MIN_SHARE = 0.01  # of the energy: a band with less may hold nothing but a codec's noise
EIGHTHS = np.arange(-4, 5) / 8  # of a sample: at 2 kHz half a sample is much
DELAYS_EF = np.exp(2j * np.pi / RATE * EIGHTHS[:, None] * FREQUENCIES).astype(np.complex64)

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
    matter in either waveform it is the smallest: a drum loop under two songs is most of their
    energy, but in the octave of the voice they differ.
    """
    lag = round(shift * RATE)
    lag += _best_lag(np.pad(x_T, SLACK)[max(lag, 0) :], y_T[max(-lag, 0) :])
    a_T, b_T = x_T[max(lag, 0) :], y_T[max(-lag, 0) :]
    length = min(len(a_T), len(b_T))
    a_PF, b_PF = _spectra(a_T[:length], PIECE), _spectra(b_T[:length], PIECE)
    product_F = np.sum(a_PF * b_PF.conj(), axis=0)
    eighth = int(np.abs((DELAYS_EF @ product_F).real).argmax())
    product_K = np.abs(_by_band((DELAYS_EF[eighth] * product_F).real))
    a_K, b_K = (_by_band(np.sum(np.abs(x_PF) ** 2, axis=0)) for x_PF in (a_PF, b_PF))
    matters_K = (a_K > MIN_SHARE * a_K.sum()) | (b_K > MIN_SHARE * b_K.sum())
    correlation_K = product_K / np.sqrt(np.maximum(a_K * b_K, 1e-9))
    correlation = float(correlation_K[matters_K].min()) if matters_K.any() else 0.0
    return Match(min(correlation, 1.0), (lag + float(EIGHTHS[eighth])) / RATE, length / RATE)


def _best_lag(around_T: Waveform, b_T: Waveform) -> int:
    """Return the lag within `SLACK` at which b correlates most with what is around it, which begins
    `SLACK` before it. The spectra of pieces add up."""
    length = min(len(around_T) - 2 * SLACK, len(b_T))
    b_PF = _spectra(b_T[:length], STEP)
    missing = len(b_PF) * STEP - length
    around_T = np.pad(around_T[: length + 2 * SLACK], (0, missing))
    around_PF = np.fft.rfft(sliding_window_view(around_T, PIECE)[::STEP])
    products_T = np.fft.irfft(np.sum(around_PF * b_PF.conj(), axis=0))
    return int(np.abs(products_T[: 2 * SLACK + 1]).argmax()) - SLACK


def _spectra(x_T: Waveform, step: int) -> NDArray[np.complex64]:
    """Return the spectra [P,F] of pieces of `step` samples, the last filled up with zeros."""
    return np.fft.rfft(np.pad(x_T, (0, -len(x_T) % step)).reshape(-1, step), PIECE)


def _by_band(x_F: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.add.reduceat(x_F, BANDS)
