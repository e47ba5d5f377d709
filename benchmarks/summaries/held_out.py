"""`held_out`: do genres that a network never met find their own kind by its features?"""

from pathlib import Path

import pandas as pd

from benchmarks.measure import read
from benchmarks.summaries.retrieval import compare, same_genre, tracks_of
from zoo.errors import InputError
from zoo.results import Result


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return the figures of retrieval of the same genre among all test tracks, columns as in
    `benchmarks.summaries.retrieval`: `what` says whether the queries are of held-out genres or of
    those that were learned."""
    held_out = {*map(str, result.config["dataset"].get("held_out") or ())}
    if not held_out:
        raise InputError(f"{folder} learned every genre; give a run with dataset.held_out.")
    table = read(folder, "held_out")
    tracks = tracks_of(table)
    is_held_out = tracks["label"].map(lambda label: not held_out.isdisjoint(label.split("|")))
    query_B = is_held_out.to_numpy(bool)
    tasks = [same_genre("held-out genres", tracks, query_B)]
    return compare(table, [*tasks, same_genre("learned genres", tracks, ~query_B)])
