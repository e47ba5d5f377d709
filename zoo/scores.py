"""The score of each track: the mean probability of the chunks that cover it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from zoo.chunks import EVALUATIONS
from zoo.datasets.base import Manifest
from zoo.model import GenreModel
from zoo.prepare import Data


@torch.inference_mode()
def score_tracks(
    model: GenreModel,
    data: Data,
    rows: np.ndarray,
    accelerator: Accelerator,
    config: Any,
    progress: str = "",
) -> np.ndarray:
    """Return float32 probabilities `[len(rows),K]`, the same on every process.

    Each process scores its share of the tracks, in chunks of `model.config.clip_seconds` where
    `config.evaluation` (of `EVALUATIONS`) places them.
    """
    was_training = model.training
    model.eval()
    mine = np.arange(accelerator.process_index, len(rows), accelerator.num_processes)
    length = chunk_length(model)
    tracks, starts = EVALUATIONS[config.evaluation](data.store.lengths[rows[mine]], length)
    total = np.zeros((len(mine), len(model.config.classes)))
    batches = list(_batches(len(tracks), config.batch_size))
    for batch in tqdm(batches, progress, leave=False, disable=None if progress else True):
        waveform = data.store.gather(rows[mine][tracks[batch]], starts[batch], length)
        with accelerator.autocast():
            logits = model(to_waveform(waveform, accelerator.device))
        probabilities = model.probabilities(logits).cpu().numpy()
        np.add.at(total, tracks[batch], probabilities.astype(np.float64))
    total /= np.bincount(tracks, minlength=len(mine))[:, None]
    scores = np.empty((len(rows), total.shape[1]), np.float32)
    for places, values in gather_object([(mine, total.astype(np.float32))]):
        scores[places] = values
    model.train(was_training)
    return scores


def chunk_length(model: GenreModel) -> int:
    """Return the length of the model's chunks in samples."""
    return max(round(model.config.clip_seconds * model.sample_rate), model.min_samples)


def to_waveform(samples_BT: np.ndarray, device: torch.device) -> torch.Tensor:
    """Move int16 samples to the device and only there to float32 in [-1, 1]."""
    tensor = torch.from_numpy(samples_BT)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).float() / 32768


def _batches(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))


def write_scores(file: Path, manifest: Manifest, scores: np.ndarray) -> None:
    """Write a row a track: track, label, artist, group, and `p:<class>` for each class."""
    frame = manifest.frame[["track", "label", "artist", "group"]].reset_index(drop=True)
    columns = [f"p:{name}" for name in manifest.classes]
    table = pd.concat([frame, pd.DataFrame(scores, columns=columns)], axis=1)
    table.to_parquet(file, index=False)
