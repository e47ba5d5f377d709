"""The sounds of `synth`: the one-shots of a drum kit, and notes.

Float64 and elementwise operations only (no BLAS, no FFT, no filter of SciPy): their results are
the same on every machine, up to far less than half a step of int16.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.random import RandomState

SAMPLE_RATE = 16_000  # Hz
Array = np.ndarray


@dataclass(frozen=True)
class Kit:
    """The drums. Every number is drawn from one distribution, whatever the genre."""

    kick_hz: float
    kick_decay: float  # s, time constants all
    snare_hz: float
    snare_decay: float
    snare_noise: float  # share of noise; over 1 the tone of the drum turns its phase
    hat_decay: float
    hat_edge: float  # how much of the low end of its noise is taken away
    clave_hz: float


KIT_RANGES = {
    "kick_hz": (45.0, 75.0),
    "kick_decay": (0.06, 0.16),
    "snare_hz": (160.0, 260.0),
    "snare_decay": (0.04, 0.12),
    "snare_noise": (0.4, 0.9),
    "hat_decay": (0.015, 0.06),
    "hat_edge": (0.5, 1.0),
    "clave_hz": (1800.0, 3000.0),
}
PARTS = {  # usual level in the mix, dB
    "kick": -4.0,
    "snare": -5.0,
    "hat": -12.0,
    "clave": -3.0,
    "bass": -10.0,
    "chords": -12.0,
    "lead": -4.0,
}


@dataclass(frozen=True)
class Voicing:
    """How an artist's instruments sound and balance."""

    levels: dict[str, float]  # dB a part
    bass_rolloff: float  # amplitude of harmonic k is rolloff ** (k - 1)
    chord_rolloff: float
    lead_rolloff: float
    inversion: int  # 0..2, of the chords


def draw_kit(random: RandomState) -> Kit:
    """Draw a kit from the distribution that all genres share."""
    return Kit(**{f.name: random.uniform(*KIT_RANGES[f.name]) for f in fields(Kit)})


def draw_voicing(random: RandomState) -> Voicing:
    """Draw an artist's voicing and mix."""
    levels = {part: level + random.uniform(-4.0, 4.0) for part, level in PARTS.items()}
    bass, chord, lead = (random.uniform(0.35, 0.65) for _ in range(3))
    return Voicing(levels, bass, chord, lead, inversion=random.randint(3))


def _noise(random: RandomState, num_samples: int) -> Array:
    return 2.0 * random.random_sample(num_samples) - 1.0


def _difference(x: Array, share: float) -> Array:
    """A two-tap high-pass filter."""
    y = x.copy()
    y[1:] -= share * x[:-1]
    return y


def draw_shots(kit: Kit, random: RandomState) -> dict[str, Array]:
    """Render the kit's one-shots, each with peak 1 or less."""
    t = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    sweep = kit.kick_hz * (t + 0.05 * (1.0 - np.exp(-t / 0.02)))  # starts 3.5 times as high
    kick = np.sin(2 * np.pi * sweep) * np.exp(-t / kit.kick_decay)
    rattle = _difference(_noise(random, len(t)), 0.7) * kit.snare_noise
    drum = np.sin(2 * np.pi * kit.snare_hz * t) * (1.0 - kit.snare_noise)
    snare = (rattle + drum) * np.exp(-t / kit.snare_decay)
    hiss = _difference(_difference(_noise(random, len(t)), kit.hat_edge), kit.hat_edge)
    hat = 0.5 * hiss * np.exp(-t / kit.hat_decay)
    clave = np.sin(2 * np.pi * kit.clave_hz * t) * np.exp(-t / 0.025)
    return {"kick": kick, "snare": snare, "hat": hat, "clave": clave}


@lru_cache(maxsize=64)  # a track plays the same few notes again and again
def note(semitone: int, seconds: float, rolloff: float, decay: float) -> Array:
    """A note of six harmonics, below 7 kHz, with soft ends.

    `semitone` counts from A1 = 55 Hz. The harmonics come from sin(kx) = 2cos(x) sin((k-1)x)
    - sin((k-2)x), which needs two sines instead of six.
    """
    hertz = 55.0 * 2.0 ** (semitone / 12.0)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * hertz * t
    before, current, twice_cosine = np.zeros_like(t), np.sin(phase), 2 * np.cos(phase)
    total, amplitude = current.copy(), 1.0
    for harmonic in range(2, 7):
        before, current = current, twice_cosine * current - before
        amplitude *= rolloff
        if harmonic * hertz < 7000.0:
            total += amplitude * current
    ends = np.minimum(1.0, np.minimum(t, t[-1] - t) / 0.005)
    return total * (1.0 - rolloff) * np.exp(-t / decay) * ends
