"""Embedding over the machines of a Ray cluster, by Ray Data.

Each worker opens the model once and embeds blocks of tracks. All machines see the audio and the
model under the same paths, and have this package installed.
"""

import logging
import os
from collections.abc import Iterator

import numpy as np
import pandas as pd

from zoo.cluster import connected
from zoo.embedded import Embedded, here
from zoo.errors import InputError
from zoo.inference import Failed
from zoo.opening import open_runner

BLOCK = 32  # tracks of a task: what a worker that dies loses at most


class Worker:
    """Embeds blocks of tracks in a process of the cluster."""

    def __init__(self, model: str, listen: str) -> None:
        self._runner, self._listen = open_runner(model, threads=1), listen

    def __call__(self, tracks: pd.DataFrame) -> pd.DataFrame:
        about = self._runner.about  # a column with nothing in a row would turn into another type
        none = np.zeros(len(about.classes)), np.zeros(about.num_features, np.float32)
        empty = Embedded("", 0, 0, 0.0, "", "", "", *none)._asdict() | {"reason": ""}
        results = here(self._runner, tracks, self._listen, workers=1)
        return pd.DataFrame([empty | result._asdict() for result in results])


def on_cluster(model: str, tracks: pd.DataFrame, listen: str) -> Iterator[Embedded | Failed]:
    """Yield the tracks of `find_tracks`, embedded by the cluster of $RAY_ADDRESS, else here.

    Raises `InputError` where there is no Ray, no cluster, or no CPU in it.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it warns of its own actors
    with connected("--engine ray") as ray:
        num_cpus = int(ray.cluster_resources().get("CPU", 0))
        if not num_cpus:  # Ray would wait for ever
            raise InputError("--engine ray: the cluster has no CPU; start a node that has.")
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        blocks = ray.data.from_pandas(tracks).repartition(target_num_rows_per_block=BLOCK)
        done = blocks.map_batches(
            Worker,
            fn_constructor_args=(model, listen),
            batch_format="pandas",
            batch_size=BLOCK,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=num_cpus),
        )
        for row in done.iter_rows():
            if row["reason"]:
                yield Failed(row["path"], row["reason"])
            else:
                yield Embedded(*(row[name] for name in Embedded._fields))
