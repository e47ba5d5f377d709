"""The scores of a run's model for tracks that are not as they were in its test."""

import numpy as np
import pandas as pd

from zoo.opened import Opened
from zoo.prepare import Data
from zoo.scores import score_tracks


def scores(run: Opened, data: Data, rows: np.ndarray) -> pd.DataFrame:
    """Return a table of `track` and `p:<class>` (float32) of these rows of `data`, whose audio has
    the model's rate, scored as the run was tested."""
    values_BK = score_tracks(run.model, data, rows, run.accelerator, run.config)
    table = pd.DataFrame(values_BK, columns=[f"p:{name}" for name in run.model.config.classes])
    table.insert(0, "track", data.manifest.frame["track"].to_numpy()[rows])
    return table
