"""The scores of the test tracks when only their middle is heard."""

from dataclasses import replace

import pandas as pd

from benchmarks.scoring import scores
from zoo.opened import Opened

SECONDS = (1, 2, 3, 5, 10, 15, 30)
WHOLE = float("inf")  # seconds, of tracks heard from start to end


def measure(run: Opened) -> pd.DataFrame:
    """Return seconds (at most so many were heard), track, `p:<class>`.

    A track that is shorter is heard whole, and what is shorter than a chunk of the model is
    repeated, as a file of that length would be. Seconds that no track exceeds are left out.
    """
    rows, store = run.data.rows("test"), run.data.store
    longest = store.lengths[rows].max() / store.sample_rate
    parts = []
    for seconds in (*(s for s in SECONDS if s < longest), WHOLE):
        length = min(seconds, longest) * store.sample_rate
        middle = replace(run.data, store=store.middle(round(length)))
        table = scores(run, middle, rows)
        table.insert(0, "seconds", float(seconds))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)
