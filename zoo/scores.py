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
    total = np.zeros((len(mine), len(model.config.classes)))
    counts = np.zeros(len(mine))
    batches = evaluation_batches(model, data, rows[mine], accelerator, config, progress)
    for tracks_B, x_BT in batches:
        with accelerator.autocast():
            logits = model(x_BT)
        probabilities = model.probabilities(logits).cpu().numpy()
        np.add.at(total, tracks_B, probabilities.astype(np.float64))
        np.add.at(counts, tracks_B, 1)
    total /= counts[:, None]
    scores = np.empty((len(rows), total.shape[1]), np.float32)
    for places, values in gather_object([(mine, total.astype(np.float32))]):
        scores[places] = values
    model.train(was_training)
    return scores


def evaluation_batches(
    model: GenreModel,
    data: Data,
    rows: np.ndarray,
    accelerator: Accelerator,
    config: Any,
    progress: str = "",
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield the evaluation chunks of tracks, a track after the other, in batches: the places of
    their tracks in `rows`, and their waveforms `[B,T]` on the device."""
    length = chunk_length(model)
    tracks, starts = EVALUATIONS[config.evaluation](data.store.lengths[rows], length)
    batches = range(0, len(tracks), config.batch_size)
    is_shown = progress and accelerator.is_main_process
    for start in tqdm(batches, progress, leave=False, disable=None if is_shown else True):
        batch = slice(start, start + config.batch_size)
        samples = data.store.gather(rows[tracks[batch]], starts[batch], length)
        yield tracks[batch], to_waveform(samples, accelerator.device)


def chunk_length(model: GenreModel) -> int:
    """Return the length of the model's chunks in samples."""
    return max(round(model.config.clip_seconds * model.sample_rate), model.min_samples)


def to_waveform(samples_BT: np.ndarray, device: torch.device) -> torch.Tensor:
    """Move int16 samples to the device and only there to float32 in [-1, 1]."""
    tensor = torch.from_numpy(samples_BT)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).float().mul_(1 / 32768)  # exact


def write_scores(file: Path, manifest: Manifest, scores: np.ndarray) -> None:
    """Write a row a track: track, label, artist, group, and `p:<class>` for each class."""
    frame = manifest.frame[["track", "label", "artist", "group"]].reset_index(drop=True)
    columns = [f"p:{name}" for name in manifest.classes]
    table = pd.concat([frame, pd.DataFrame(scores, columns=columns)], axis=1)
    table.to_parquet(file, index=False)
