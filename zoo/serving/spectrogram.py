"""A mel spectrogram to look at: few columns, whatever the length, and no torch."""

import base64
import io

import matplotlib
import numpy as np
from PIL import Image

FRAME = 2048  # samples
NUM_COLUMNS = 800
NUM_MELS = 96
LOWEST = 40.0  # Hz
RANGE = 70.0  # dB below the loudest, that are shown


def mel_filters(sample_rate: int, num_mels: int = NUM_MELS) -> np.ndarray:
    """Return triangles on the mel scale of O'Shaughnessy 1987 (HTK's), from `LOWEST` to half the
    rate, of height 1 `[M,F]`."""
    low, high = 2595 * np.log10(1 + np.array([LOWEST, sample_rate / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, num_mels + 2) / 2595) - 1)
    hz_F = np.fft.rfftfreq(FRAME, 1 / sample_rate)
    rise_MF = (hz_F - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall_MF = (edges[2:, None] - hz_F) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rise_MF, fall_MF), 0, None)


def mel_decibels(samples_T: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the levels of int16 samples in decibels `[M,N]`, in at most `NUM_COLUMNS` frames that
    are spread evenly over them."""
    x_T = samples_T if len(samples_T) >= FRAME else np.pad(samples_T, (0, FRAME - len(samples_T)))
    latest = len(x_T) - FRAME
    num_frames = min(NUM_COLUMNS, 1 + latest // (FRAME // 8))
    starts = np.linspace(0, latest, num_frames).astype(int)
    frames = np.stack([x_T[start : start + FRAME] for start in starts]) * np.hanning(FRAME)
    power_NF = np.abs(np.fft.rfft(frames.astype(np.float32) / 2**15)) ** 2
    return 10 * np.log10(mel_filters(sample_rate) @ power_NF.T + 1e-10)


def picture(level_MN: np.ndarray) -> str:
    """Return levels in decibels as a PNG, in a data URI; low tones are below."""
    shown_MN = np.clip((level_MN - level_MN.max()) / RANGE + 1, 0, 1)
    pixels = matplotlib.colormaps["magma"](shown_MN[::-1], bytes=True)[..., :3]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
