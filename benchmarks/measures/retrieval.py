"""`retrieval`: embeddings of the test tracks, by the trained network and by a random one.

A row a network (trained, random) and track: network, track, label, artist, group, e0, e1, ...: the
mean of the features before the head over the track's chunks, float32.
"""

import numpy as np
import pandas as pd
import torch
from torch.optim.swa_utils import update_bn

from zoo.chunks import TrainingChunks
from zoo.embeddings import embed_tracks, folder_of
from zoo.model import GenreModel, without_start
from zoo.opened import Opened
from zoo.prepare import Data
from zoo.results import IDENTITY
from zoo.scores import chunk_length, to_waveform

CALIBRATION_STEPS = 50  # batches of training chunks that a random network's statistics are of


def measure(run: Opened) -> pd.DataFrame:
    """Embed the test tracks of the run's data."""
    return embeddings(run, run.data, run.data.rows("test"))


def embeddings(run: Opened, data: Data, rows: np.ndarray) -> pd.DataFrame:
    """Return the table of some tracks, by both networks."""
    tracks = data.manifest.frame.loc[rows, list(IDENTITY)].reset_index(drop=True)
    parts = []
    for network, model in (("trained", run.model), ("random", random_network(run))):
        features = pd.DataFrame(embed(run, model, data, rows)).add_prefix("e")
        parts.append(pd.concat([tracks.assign(network=network), features], axis=1))
    table = pd.concat(parts, ignore_index=True)
    return table[["network", *table.columns.drop("network")]]


def embed(run: Opened, model: GenreModel, data: Data, rows: np.ndarray) -> np.ndarray:
    """Return the mean features of tracks over the chunks that scores are of, float32 `[B,D]`."""
    folder = folder_of(model, run.accelerator, run.config)
    embedded = embed_tracks(model, data, rows, run.accelerator, run.config, folder, "embedding")
    firsts = np.searchsorted(embedded.places, np.arange(len(rows)))
    counts = np.bincount(embedded.places, minlength=len(rows))
    sums = np.add.reduceat(embedded.features, firsts, axis=0, dtype=np.float64)
    return (sums / counts[:, None]).astype(np.float32)


def random_network(run: Opened) -> GenreModel:
    """Return the run's architecture with random weights, drawn by the run's seed, whatever weights
    the run started from.

    Its batch norms have seen training chunks, as a network's have that learns nothing: with the
    statistics that they begin with (mean 0, variance 1) loudness would be all that features show.
    """
    config = without_start(run.model.config)
    torch.manual_seed(run.result.seed)
    model = GenreModel(config).to(run.accelerator.device).eval()
    rows, length = run.data.rows("train"), chunk_length(model)
    lengths, batch = run.data.store.lengths[rows], run.config.batch_size
    chunks = TrainingChunks(lengths, length, batch, run.result.seed)
    batches = (chunks.batch(0, i) for i in range(min(CALIBRATION_STEPS, chunks.steps_per_epoch)))
    samples = (run.data.store.gather(rows[tracks], starts, length) for tracks, starts in batches)
    with run.accelerator.autocast():
        update_bn((to_waveform(s, run.accelerator.device) for s in samples), model)
    return model
