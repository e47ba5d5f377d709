"""A model that is trained in seconds, for tests of what is done with one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

GENRES = ("bass", "hiss", "tone")
RATE = 16_000


def sound(genre: str, seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """Return music of a genre that a linear model can tell from the others, most of the time."""
    random = np.random.RandomState(seed)
    t = np.arange(round(seconds * rate)) / rate
    noise = random.uniform(-1, 1, len(t))
    pitch = {"bass": 150, "hiss": 0, "tone": 900}[genre] * random.uniform(0.5, 2)
    loud, hiss = random.uniform(0.01, 0.3), random.uniform(0.2, 0.5) if genre == "hiss" else 0.3
    return loud * np.sin(2 * np.pi * pitch * t) + hiss * random.uniform(0.3, 1) * noise


def write_library(folder: Path, per_genre: int = 12, seconds: float = 0.8) -> Path:
    """Write files of each genre in a folder of its own, with an artist and a title each."""
    for number, genre in enumerate(GENRES):
        (folder / genre).mkdir(parents=True)
        for i in range(per_genre):
            name = folder / genre / f"{i:02d}.flac"
            with soundfile.SoundFile(name, "w", RATE, 1) as file:
                file.artist, file.title = f"artist{i % 4}", f"{genre} {i}"
                file.write(sound(genre, seconds, 100 * number + i))
    return folder


def train(folder: Path, *settings: str) -> Path:
    """Train `linear` on a folder of music; return the run."""
    command = [sys.executable, "-m", "zoo.train", "model=linear", "dataset=folder"]
    command += ["dataset.path=music", "output_dir=run", "clip_seconds=0.5", "epochs=8", *settings]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "run"
