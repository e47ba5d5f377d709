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
    drop = f"{tracks.metric}_drop"
    rows = []
    for name, panel in panels.items():
        about = {"what": name, "panel": panel}
        rows.append(tracks.level(name, figure=tracks.metric, **about))
        if name != CLEAN:
            rows.append(tracks.drop(CLEAN, [name], figure=drop, **about))
    averaged = list(panels.index[panels == AVERAGED])
    about = {"what": AVERAGED, "panel": AVERAGED, "figure": f"mean_{drop}"}
    rows.append(tracks.drop(CLEAN, averaged, **about))
    first = ["what", "figure", "value", "low", "high", "num_tracks"]
    return pd.DataFrame(rows)[[*first, "panel"]]
