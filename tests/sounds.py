"""Small real audio files for fixtures."""

from pathlib import Path

import numpy as np
import soundfile


def write_mp3(file: Path, hertz: float, seconds: float = 0.5, sample_rate: int = 44_100) -> None:
    """Write a tone in a little noise, its folder included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    noise = np.random.RandomState(int(hertz)).uniform(-0.01, 0.01, len(t))
    x = 0.3 * np.sin(2 * np.pi * hertz * t) + noise
    soundfile.write(file, x, sample_rate, format="MP3")
