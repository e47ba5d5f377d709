"""How well a model does with less to hear, and how much is enough."""

from pathlib import Path

import pandas as pd

from benchmarks.measure import read
from benchmarks.paired import read_conditions
from zoo.results import Result


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return for each number of seconds (`what`; "all" of the track) the metric and its drop
    against the whole track, and the seconds that are enough: what, figure, value, low, high,
    num_tracks.

    `enough_seconds` are the least from which on no drop is beyond noise, that is, above 0 with its
    whole interval; infinite where it takes the whole track.
    """
    table = read(folder, "length")
    whole = table["seconds"].max()
    tracks = read_conditions(folder, result, table, "seconds", whole)
    rows = [tracks.level(whole, what="all", figure=tracks.metric)]
    enough, is_enough = whole, True
    for seconds in sorted(set(tracks.values) - {whole}, reverse=True):
        what = f"{seconds:g} s"
        rows.append(tracks.level(seconds, what=what, figure=tracks.metric))
        drop = tracks.drop(whole, [seconds], what=what, figure=f"{tracks.metric}_drop")
        rows.append(drop)
        is_enough = is_enough and drop["low"] <= 0
        enough = seconds if is_enough else enough
    said = {"what": "all", "figure": "enough_seconds", "value": enough}
    return pd.DataFrame([*rows, {**said, "num_tracks": tracks.num_tracks}])
