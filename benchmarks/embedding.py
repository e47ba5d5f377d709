"""Embedding a folder of MP3s: as the zoo does it, and by the loop that one would write."""

from pathlib import Path

import numpy as np
import torch

from zoo.inference import Heard, hear
from zoo.listening import listening
from zoo.model import GenreModel
from zoo.runners import Runner
from zoo.scores import chunk_length


def files_in(folder: str) -> list[str]:
    """Return the MP3s of a folder."""
    return sorted(map(str, Path(folder).glob("*.mp3")))


def embed(runner: Runner, files: list[str], workers: int | None = None) -> np.ndarray:
    """Return embeddings `[B,D]` as `python -m zoo.embed` computes them."""
    heard = list(hear(runner, files, workers=workers))
    assert all(isinstance(track, Heard) for track in heard)
    return np.stack([track.embedding_D for track in heard if isinstance(track, Heard)])


def plainly(model: GenreModel, files: list[str]) -> np.ndarray:
    """Return them by the loop that one would write: librosa, a track at a time, eager float32."""
    import librosa

    clip = chunk_length(model)
    place = listening("all", model.sample_rate, clip)
    rows = []
    for file in files:
        x_T, _ = librosa.load(file, sr=model.sample_rate)
        chunks = np.stack([x_T[start : start + clip] for start in place(len(x_T))])
        with torch.no_grad():
            rows.append(model.embed(torch.from_numpy(chunks)).mean(0).numpy())
    return np.stack(rows)
