"""The scores of the test tracks as they are, and under each of the conditions of
`benchmarks.degradations`."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.degradations import CONDITIONS, Condition
from benchmarks.degraded import degraded
from benchmarks.scoring import scores
from zoo.opened import Opened
from zoo.prepare import cache_folder, decode_tracks


def measure(run: Opened) -> pd.DataFrame:
    """Return panel, condition (both "clean" for the tracks as they are), track, `p:<class>`."""
    clean = scores(run, run.data, run.data.rows("test"))
    parts = [clean.assign(panel="clean", condition="clean")]
    for condition in tqdm(CONDITIONS, "conditions", leave=False, disable=None):
        table = under(run, condition)
        parts.append(table.assign(panel=condition.panel, condition=condition.name))
    first = ["panel", "condition"]
    return pd.concat(parts, ignore_index=True).set_index(first).reset_index()


def under(run: Opened, condition: Condition) -> pd.DataFrame:
    """Return the scores of the test tracks under a condition."""
    config = run.config
    test = run.data.manifest.split("test")
    copies = degraded(test, condition, cache_folder(config), config.prepare.workers)
    data = decode_tracks(copies, config, run.model.sample_rate)
    return scores(run, data, np.arange(len(data.store)))
