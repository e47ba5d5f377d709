"""Embeddings of tracks by a frozen model, computed once and kept on the disk.

`<cache>/embeddings/<key>/*.npz` hold those of some tracks each, by the hash of their audio; the key
stands for all else that they follow from. So the seeds, folds and shots of one data set find what
each other computed, and an interrupted pass goes on where it was.
"""

import hashlib
import json
import time
import uuid
import warnings
import zipfile
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from zoo import runtime
from zoo.errors import InputError
from zoo.model import GenreModel, weights_hash
from zoo.prepare import Data, cache_folder
from zoo.scores import chunk_length, evaluation_batches
from zoo.shards import explained

PIECE = 1000  # tracks in a file: what an interrupted pass loses at most


class Embedded(NamedTuple):
    """Embeddings of the chunks of some tracks, a track after the other."""

    features: np.ndarray  # float32 [M,D]
    places: np.ndarray  # of the chunks' tracks among the tracks [M]
    seconds: float  # that computing them took, whenever that was


Kept = dict[str, tuple[np.ndarray, float]]
"""By the hash of a track's audio: the embeddings `[M,D]` of its chunks, and the seconds it took."""


def folder_of(model: GenreModel, accelerator: Accelerator, config: Any) -> Path:
    """Return where the embeddings are kept: by what they depend on beside the audio."""
    ours = model.config
    settings = {
        "version": runtime.versions()["genre-zoo"],
        "model": [ours.model, ours.backend_args],
        "frontend": [ours.frontend, ours.frontend_args],
        "sample_rate": model.sample_rate,
        "chunks": [chunk_length(model), config.evaluation],
        "precision": accelerator.mixed_precision,
    }
    settings["weights"] = weights_hash(model, without="head.")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    return cache_folder(config) / "embeddings" / digest.hexdigest()[:32]


def embed_tracks(
    model: GenreModel,
    data: Data,
    rows: np.ndarray,
    accelerator: Accelerator,
    config: Any,
    folder: Path,
    progress: str = "",
) -> Embedded:
    """Return the embeddings of the chunks that `score_tracks` would score, the same on every
    process.

    What `folder` (see `folder_of`) does not hold yet is computed, each process its share, and kept.
    """
    hashes = data.store.select(rows).content_hashes
    row_of = dict(zip(hashes, rows.tolist(), strict=True))
    size = model.backend.num_features
    missing = runtime.on_main(lambda: _missing(folder, row_of, size))
    mine = missing[accelerator.process_index :: accelerator.num_processes]
    for start in range(0, len(mine), PIECE):
        piece = {name: row_of[name] for name in mine[start : start + PIECE]}
        _keep(folder, _embed(model, data, piece, accelerator, config, progress))
    accelerator.wait_for_everyone()
    kept = _read(folder, row_of, size)
    if absent := row_of.keys() - kept.keys():
        raise InputError(
            f"{folder} lacks the embeddings of {len(absent)} tracks that another process wrote: "
            "give a cache_dir that all processes share."
        )
    parts = [kept[name][0] for name in hashes]
    places_M = np.repeat(np.arange(len(rows)), [len(x_MD) for x_MD in parts])
    seconds = sum(kept[name][1] for name in row_of)
    return Embedded(np.concatenate(parts), places_M, seconds)


def _missing(folder: Path, wanted: Iterable[str], num_features: int) -> list[str]:
    kept = _read(folder, {*wanted}, num_features)
    return [name for name in wanted if name not in kept]


@torch.inference_mode()
def _embed(
    model: GenreModel,
    data: Data,
    row_of: Mapping[str, int],
    accelerator: Accelerator,
    config: Any,
    progress: str,
) -> Kept:
    was_training, began = model.training, time.monotonic()
    model.eval()
    parts, tracks = [], []
    rows = np.array([*row_of.values()])
    for tracks_B, x_BT in evaluation_batches(model, data, rows, accelerator, config, progress):
        with accelerator.autocast():
            x_BD = model.embed(x_BT)
        parts.append(x_BD.float().cpu().numpy())
        tracks.append(tracks_B)
    model.train(was_training)
    x_MD, counts = np.concatenate(parts), np.bincount(np.concatenate(tracks))
    if not np.isfinite(x_MD).all():
        raise InputError("the embeddings hold NaN or infinite values; try precision=fp32.")
    seconds = (time.monotonic() - began) / accelerator.num_processes
    per_chunk = seconds / len(x_MD)
    pieces = np.split(x_MD, counts.cumsum()[:-1])
    return {name: (x, len(x) * per_chunk) for name, x in zip(row_of, pieces, strict=True)}


def _keep(folder: Path, embedded: Kept) -> None:
    """Write a file whole or not at all; its name is a hash of the tracks that it is of."""
    file = folder / f"{hashlib.sha256(' '.join(embedded).encode()).hexdigest()[:32]}.npz"
    part = folder / f"{uuid.uuid4().hex}.part"
    parts, seconds = zip(*embedded.values(), strict=True)
    counts = [len(x_MD) for x_MD in parts]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as stream:
                x_MD = np.concatenate(parts)
                np.savez(stream, names=[*embedded], counts=counts, seconds=seconds, x_MD=x_MD)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def _read(folder: Path, wanted: Container[str], num_features: int) -> Kept:
    """Return what is kept of the wanted tracks; what is damaged is not there."""
    kept: Kept = {}
    for file in sorted(folder.glob("*.npz")):
        try:
            kept |= _read_file(file, wanted, num_features)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            warnings.warn(f"{file} is damaged and ignored: {error}", stacklevel=3)
    return kept


def _read_file(file: Path, wanted: Container[str], num_features: int) -> Kept:
    with np.load(file) as content:
        names, counts, seconds = (content[key] for key in ("names", "counts", "seconds"))
        if not any(name in wanted for name in names.tolist()):
            return {}
        x_MD = content["x_MD"]
    if x_MD.dtype != np.float32 or x_MD.shape != (counts.sum(), num_features):
        raise ValueError("its parts disagree")
    pieces = np.split(x_MD, counts.cumsum()[:-1])
    found = zip(names.tolist(), zip(pieces, seconds.tolist(), strict=True), strict=True)
    return {name: one for name, one in found if name in wanted}
