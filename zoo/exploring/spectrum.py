"""The mean spectrum of a track: thirds of octaves, and how high it reaches."""

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import welch

FRAME = 8192  # samples: 5.4 Hz a bin at 44,100 Hz
CENTRES = 1000 * 2 ** (np.arange(-15, 14) / 3)  # Hz, of thirds of octaves (IEC 61260): 31 to 20 k
EDGE = 2 ** (1 / 6)  # of a band, above its centre and below
SMOOTH = 200.0  # Hz that the median is taken over: a whistle or a hum is no bandwidth
RANGE = 80.0  # dB below the strongest
ABOVE_ROUNDING = 10.0  # dB above the noise of rounding to 16 bits
ROUNDING = 2.0**-30 / 12  # variance of that noise (Bennett 1948), full scale 1


def mean_power(x_T: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in Hz and the mean power density per Hz `[F]` of a waveform in [-1, 1]
    (Welch 1967, Hann windows)."""
    frame = min(FRAME, len(x_T))
    hz_F, power_F = welch(x_T, sample_rate, nperseg=frame, noverlap=frame // 2, detrend=False)
    return hz_F, power_F.astype(np.float64)


def bandwidth(hz_F: np.ndarray, power_F: np.ndarray) -> float:
    """Return the highest frequency in Hz that carries energy: where the mean spectrum, smoothed by
    a median over 200 Hz, is within 80 dB of its highest and 10 dB above the noise of rounding to
    16 bits; 0 where nothing is."""
    width = max(1, round(SMOOTH / hz_F[1]))
    smooth_F = median_filter(power_F, width, mode="nearest")
    least = ROUNDING / hz_F[-1] * 10 ** (ABOVE_ROUNDING / 10)
    carries = np.flatnonzero(smooth_F > max(least, smooth_F.max() * 10 ** (-RANGE / 10)))
    return float(hz_F[carries[-1]]) if len(carries) else 0.0


def thirds(hz_F: np.ndarray, power_F: np.ndarray) -> np.ndarray:
    """Return the share of each third of an octave in the power, in dB `[B]`; at least -60."""
    sums = [power_F[(hz_F >= centre / EDGE) & (hz_F < centre * EDGE)].sum() for centre in CENTRES]
    return 10 * np.log10(np.array(sums) / max(power_F.sum(), 1e-30) + 1e-6)
