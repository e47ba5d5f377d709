"""What degradations and musical changes cost."""

from pathlib import Path

import pandas as pd

from benchmarks.measure import read
from benchmarks.paired import read_conditions
from zoo.results import Result

CLEAN = "clean"
AVERAGED = "degradation"  # the panel; what changes the music may change its genre


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return for each condition the metric and its drop against the clean tracks, and the mean drop
    over all degradations (`what` "degradation"): what, figure, value, low, high, num_tracks, panel.

    The figures are named <metric> and <metric>_drop, which is positive where something is lost.
    """
    table = read(folder, "robustness")
    tracks = read_conditions(folder, result, table, "condition", CLEAN)
    panels = table.groupby("condition", sort=False)["panel"].first()
    clean = (1.0, tracks.scores[CLEAN])
    drop = f"{tracks.metric}_drop"
    rows = []
    for name, panel in panels.items():
        heard = tracks.scores[name]
        about = {"what": name, "panel": panel}
        rows.append(tracks.figure([(1.0, heard)], figure=tracks.metric, **about))
        if name != CLEAN:
            rows.append(tracks.figure([clean, (-1.0, heard)], figure=drop, **about))
    averaged = panels.index[panels == AVERAGED]
    mean = [(-1 / len(averaged), tracks.scores[name]) for name in averaged]
    rows.append(tracks.figure([clean, *mean], what=AVERAGED, panel=AVERAGED, figure=f"mean_{drop}"))
    first = ["what", "figure", "value", "low", "high", "num_tracks"]
    return pd.DataFrame(rows)[[*first, "panel"]]
