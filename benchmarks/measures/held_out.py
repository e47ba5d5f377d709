"""`held_out`: as `retrieval`, of all test tracks of the data set, those of the genres that the run
never met (`dataset.held_out`) among them."""

from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from benchmarks.measures.retrieval import embeddings
from zoo.config import assign
from zoo.datasets.base import labels_of
from zoo.errors import InputError
from zoo.opened import Opened
from zoo.prepare import decode_tracks, load_manifest


def measure(run: Opened) -> pd.DataFrame:
    """Embed the test tracks that there would be without `dataset.held_out`.

    Raises `InputError` for a run that left no genre out, and where none of theirs is for the test.
    """
    held_out = run.config.dataset.get("held_out")
    if not held_out:
        raise InputError(
            f"{run.folder} learned every genre of {run.result.protocol.dataset}: the measure "
            "held_out takes a run that left some out, such as by dataset.held_out=[jazz,rock]."
        )
    content: Any = OmegaConf.to_container(run.config)
    config = assign(content, ["dataset.held_out=[]"])
    manifest = load_manifest(config).split("test")
    if not labels_of(manifest.frame).isin(names := [*map(str, held_out)]).any():
        raise InputError(f"{manifest.where} has no test track of {', '.join(names)} to query with.")
    data = decode_tracks(manifest, config, run.model.sample_rate)
    return embeddings(run, data, np.arange(len(data.manifest.frame)))
