"""What recordings go through to show whether a model still recognises them.

Two panels: degradations, which leave the music as it is, and changes of the music itself, which may
change its genre (tempo above all) and are therefore never averaged with the others. The control is
no change: it shows what the detour over a copy costs by itself.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import soundfile
import soxr
from numpy.random import Generator
from numpy.typing import NDArray
from python_stretch.Signalsmith import Stretch
from scipy.signal import butter, fftconvolve, sosfilt

from zoo.datasets.planting import digest

Waveform = NDArray[np.float32]
Change = Callable[[Waveform, int, Generator], Waveform]
"""From a waveform `[T]` in [-1, 1], its sample rate (Hz) and what draws random numbers to the
changed waveform: `[T]` and aligned in time, but for tempo, whose length changes."""

PANELS = ("control", "degradation", "music")
FULL_SCALE = 1 - 2**-15  # the largest int16
MP3_KBITS = {  # kbit/s, least and most, by Hz
    **dict.fromkeys((32_000, 44_100, 48_000), (32, 320)),  # MPEG-1
    **dict.fromkeys((16_000, 22_050, 24_000), (8, 160)),  # MPEG-2
}
MP3_DELAY = 576 + 529  # samples, of LAME as an encoder and of a decoder
LOWEST_PINK = 20.0  # Hz; else a long track would have most of its noise below what is heard
FILTER_ORDER = 4  # 24 dB an octave


@dataclass(frozen=True)
class Condition:
    """A change by name."""

    name: str  # also of a folder
    panel: str  # of PANELS
    change: Change

    def apply(self, x_T: Waveform, sample_rate: int, track: str) -> Waveform:
        """Return the changed waveform, turned down where it would exceed full scale.

        What is drawn at random follows from the names of condition and track.
        """
        seed = int(digest(self.name, track)[:16], 16)
        changed_T = self.change(x_T, sample_rate, np.random.default_rng(seed))
        peak = float(np.abs(changed_T).max())
        return changed_T * np.float32(min(1.0, FULL_SCALE / max(peak, FULL_SCALE)))


def unchanged(x_T: Waveform, sample_rate: int, draw: Generator) -> Waveform:
    """Return what is given."""
    return x_T


def mp3(x_T: Waveform, sample_rate: int, draw: Generator, *, kbits: int) -> Waveform:
    """Encode as MP3 (LAME) at a constant bit rate (kbit/s) and decode; at 44.1 kHz where MP3 does
    not have the sample rate.

    A file says by how much it is delayed in a frame that does not fit at low bit rates: what is
    decoded is longer then, and begins `MP3_DELAY` late.
    """
    rate = sample_rate if sample_rate in MP3_KBITS else 44_100
    original_T = soxr.resample(x_T, sample_rate, rate, "HQ")
    decoded_T, _ = soundfile.read(io.BytesIO(encode_mp3(original_T, rate, kbits)), dtype="float32")
    late = MP3_DELAY if len(decoded_T) > len(original_T) else 0
    return _of_length(soxr.resample(decoded_T[late:], rate, sample_rate, "HQ"), len(x_T))


def encode_mp3(x_T: Waveform, sample_rate: int, kbits: int) -> bytes:
    """Return an MP3 file of a bit rate that `MP3_KBITS` allows; libsndfile takes it as a share of
    that range."""
    least, most = MP3_KBITS[sample_rate]
    assert least <= kbits <= most
    level = min((most - kbits) / (most - least), 0.999)  # 1 is refused
    options = {"bitrate_mode": "CONSTANT", "compression_level": level}
    encoded = io.BytesIO()
    soundfile.write(encoded, x_T, sample_rate, format="MP3", **options)
    return encoded.getvalue()


def resampled(x_T: Waveform, sample_rate: int, draw: Generator, *, hertz: int) -> Waveform:
    """Resample to a lower rate and back."""
    low_T = soxr.resample(x_T, sample_rate, hertz, "HQ")
    return _of_length(soxr.resample(low_T, hertz, sample_rate, "HQ"), len(x_T))


def white_noise(x_T: Waveform, sample_rate: int, draw: Generator, *, snr: float) -> Waveform:
    """Add noise of equal power in each hertz, `snr` dB below the power of the whole track."""
    return _mixed(x_T, draw.standard_normal(len(x_T)), snr)


def pink_noise(x_T: Waveform, sample_rate: int, draw: Generator, *, snr: float) -> Waveform:
    """Add noise of equal power in each octave from `LOWEST_PINK` up, `snr` dB below the power of
    the whole track."""
    spectrum_F = np.fft.rfft(draw.standard_normal(len(x_T)))
    hertz_F = np.fft.rfftfreq(len(x_T), 1 / sample_rate)
    heard_F = hertz_F >= LOWEST_PINK
    spectrum_F *= np.where(heard_F, 1 / np.sqrt(np.maximum(hertz_F, LOWEST_PINK)), 0)
    return _mixed(x_T, np.fft.irfft(spectrum_F, len(x_T)), snr)


def gain(x_T: Waveform, sample_rate: int, draw: Generator, *, decibels: float) -> Waveform:
    """Make louder or softer."""
    return x_T * np.float32(10 ** (decibels / 20))


def clipped(x_T: Waveform, sample_rate: int, draw: Generator, *, share: float) -> Waveform:
    """Clip the loudest share of the samples, of those that are not zero."""
    most = np.quantile(np.abs(x_T[x_T != 0]), 1 - share).astype(np.float32)
    return np.clip(x_T, -most, most)


def filtered(
    x_T: Waveform, sample_rate: int, draw: Generator, *, kind: str, hertz: float
) -> Waveform:
    """Filter with a Butterworth `lowpass` or `highpass`, -3 dB at `hertz`."""
    sections = butter(FILTER_ORDER, hertz, kind, fs=sample_rate, output="sos")
    return sosfilt(sections, x_T).astype(np.float32)


def reverberated(x_T: Waveform, sample_rate: int, draw: Generator, *, seconds: float) -> Waveform:
    """Put into a room whose sound falls by 60 dB in so many seconds: see `room`."""
    impulse = room(sample_rate, draw, seconds)
    return np.asarray(fftconvolve(x_T, impulse)[: len(x_T)], np.float32)


def room(sample_rate: int, draw: Generator, seconds: float) -> NDArray[np.float64]:
    """Return an impulse response of energy 1, half of it the direct sound at its first sample.

    The other half is Gaussian noise that falls exponentially, by 60 dB in so many seconds (Polack's
    model of a diffuse field).
    """
    t_T = np.arange(round(seconds * sample_rate)) / sample_rate
    tail_T = draw.standard_normal(len(t_T)) * 10 ** (-60 / 20 * t_T / seconds)
    tail_T[0] = 0.0
    impulse_T = tail_T / np.linalg.norm(tail_T)
    impulse_T[0] = 1.0
    return impulse_T * np.sqrt(0.5)


def stretched(
    x_T: Waveform, sample_rate: int, draw: Generator, *, semitones: float = 0.0, tempo: float = 1.0
) -> Waveform:
    """Change pitch by `semitones` or play `tempo` times as fast (Signalsmith Stretch)."""
    stretch = Stretch()
    stretch.preset(1, sample_rate)  # one channel
    stretch.setTransposeSemitones(semitones)
    stretch.setTimeFactor(tempo)
    return np.asarray(stretch.process(x_T[None]), np.float32)[0]


def _mixed(x_T: Waveform, noise_T: NDArray[np.float64], snr: float) -> Waveform:
    """Add noise at a ratio (dB) of the mean powers."""
    signal, noise = (float(np.mean(np.square(y_T, dtype=np.float64))) for y_T in (x_T, noise_T))
    scale = np.sqrt(signal / noise / 10 ** (snr / 10))
    return (x_T + scale * noise_T).astype(np.float32)


def _of_length(x_T: Waveform, length: int) -> Waveform:
    """Cut the end or fill it with zeros."""
    return np.pad(x_T[:length], (0, max(0, length - len(x_T))))


def _conditions() -> tuple[Condition, ...]:
    degradations: dict[str, Change] = {
        **{f"mp3-{kbits}kbps": partial(mp3, kbits=kbits) for kbits in (128, 64, 32)},
        "resampled-8khz": partial(resampled, hertz=8_000),
        **{f"white-noise-{snr}db": partial(white_noise, snr=snr) for snr in (20, 10)},
        **{f"pink-noise-{snr}db": partial(pink_noise, snr=snr) for snr in (20, 10)},
        "gain-minus-20db": partial(gain, decibels=-20),
        "clipped-10pct": partial(clipped, share=0.1),
        "lowpass-2khz": partial(filtered, kind="lowpass", hertz=2_000),
        "highpass-300hz": partial(filtered, kind="highpass", hertz=300),
        **{f"reverb-{seconds}s": partial(reverberated, seconds=seconds) for seconds in (0.5, 2.0)},
    }
    music: dict[str, Change] = {
        "pitch-down-2": partial(stretched, semitones=-2),
        "pitch-up-2": partial(stretched, semitones=2),
        "tempo-0.8": partial(stretched, tempo=0.8),
        "tempo-1.25": partial(stretched, tempo=1.25),
    }
    return (
        Condition("unchanged", "control", unchanged),
        *(Condition(name, "degradation", change) for name, change in degradations.items()),
        *(Condition(name, "music", change) for name, change in music.items()),
    )


CONDITIONS = _conditions()
