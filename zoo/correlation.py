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

# Lanczos' kernel [E,L], from whole samples to eighths: at 2 kHz half a sample is much
LAGS = np.arange(-16, 17)
EIGHTHS = np.arange(-8, 9) / 8
KERNEL = np.sinc(EIGHTHS[:, None] - LAGS) * np.sinc((EIGHTHS[:, None] - LAGS) / 17)
# the spectrum [F] of differences from sample to sample over that of the samples
DIFFERENCE = 2 - 2 * np.cos(np.linspace(0, np.pi, PIECE // 2 + 1))

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

    The best shift within `SLACK` counts, the sign does not. Of the correlation of the waveforms and
    that of their differences from sample to sample it is the smaller: a bass drum that two pieces
    share can make the former large, a click the latter.
    """
    lag = round(shift * RATE)
    length = min(len(x_T), lag + len(y_T)) - max(lag, 0)
    assert length > 0, "no overlap"
    around_T = np.pad(x_T, SLACK)[max(lag, 0) :][: length + 2 * SLACK]
    b_T = y_T[max(-lag, 0) :][:length]
    spectrum_F = _cross_spectrum(around_T, b_T)
    start = int(np.abs(np.fft.irfft(spectrum_F)[: 2 * SLACK + 1]).argmax())
    a_T = around_T[start : start + length]
    plain_E = _normalised(spectrum_F, start, a_T, b_T)
    sharp_E = _normalised(spectrum_F * DIFFERENCE, start, np.diff(a_T), np.diff(b_T))
    lag += start - SLACK
    return Match(
        correlation=min(float(plain_E.max()), float(sharp_E.max()), 1.0),
        shift=(lag + float(EIGHTHS[plain_E.argmax()])) / RATE,
        overlap=(min(len(x_T), lag + len(y_T)) - max(lag, 0)) / RATE,
    )


def _cross_spectrum(around_T: Waveform, b_T: Waveform) -> NDArray[np.complex64]:
    """Return the spectrum [F] of the sums of products of b with what is `around` it, by `SLACK`
    longer at both ends, at lags of 0 to 2 `SLACK`: that of piece after piece, added up."""
    num_pieces = -(-len(b_T) // STEP)
    missing = num_pieces * STEP - len(b_T)
    around_PT = sliding_window_view(np.pad(around_T, (0, missing)), PIECE)[::STEP]
    b_PT = np.pad(b_T, (0, missing)).reshape(num_pieces, STEP)
    return np.sum(np.fft.rfft(around_PT) * np.fft.rfft(b_PT, PIECE).conj(), axis=0)


def _normalised(
    spectrum_F: NDArray[np.complexfloating], start: int, a_T: Waveform, b_T: Waveform
) -> NDArray[np.floating]:
    """Return the correlation [E] at the eighths of a sample around the lag `start`."""
    products_L = np.fft.irfft(spectrum_F).take(start + LAGS, mode="wrap")
    norm = max(float(np.sqrt((a_T @ a_T) * (b_T @ b_T))), 1e-9)
    return np.abs(KERNEL @ products_L) / norm
