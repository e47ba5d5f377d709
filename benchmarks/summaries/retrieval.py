"""`retrieval`: does a track find its own kind by cosine similarity of features, and its own artist?

Of the same genre: any label in common; tracks by the query's own unit (artist, else group) are no
candidates, or the artist's sound would do. Of the same artist: tracks of the query's own group
(such as its session or album) are none, for the like reason. Everything is compared with chance and
with the features of a network that learned nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.measure import read
from benchmarks.retrieval import FIGURES, cosine, figures, hubness, nearest
from benchmarks.statistics import MIN_UNITS, Interval, bootstrap_interval
from benchmarks.statistics import checkpoint_interval, units_of
from zoo.results import IDENTITY, Result

HUBNESS = ("hubness", "orphans")
AGAINST = ("random", "chance")  # what the trained network is compared with
UNKNOWN = Interval(np.nan, np.nan, "no query", 0)


class Task(NamedTuple):
    """Queries and candidates: all pairs of tracks, and what counts among them."""

    what: str
    query_B: np.ndarray  # of the tracks, those that query
    relevant_BB: np.ndarray  # by query (row)
    candidate_BB: np.ndarray


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return the figures of retrieval: columns what (same genre, same artist), network (trained,
    random, chance, and differences), figure, value, low, high, num_tracks (queries that count) and
    left_out (queries without a relevant candidate).

    Intervals are over the queries' units; the candidates stay as they are.
    """
    table = read(folder, "retrieval")
    tracks = tracks_of(table)
    every = np.ones(len(tracks), bool)
    return compare(table, [same_genre("same genre", tracks, every), same_artist(tracks)])


def tracks_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the tracks, in the order of each network's rows."""
    return table.loc[table["network"] == "trained", list(IDENTITY)].reset_index(drop=True)


def same_genre(what: str, tracks: pd.DataFrame, query_B: np.ndarray) -> Task:
    """Return the task to find tracks of others with a label in common."""
    units_B = units_of(tracks)
    labels = tracks["label"].str.get_dummies("|").to_numpy()
    return Task(what, query_B, labels @ labels.T > 0, units_B[:, None] != units_B)


def same_artist(tracks: pd.DataFrame) -> Task:
    """Return the task to find other tracks of the same artist: from other groups, where the query
    is of one."""
    artist_B, group_B = (tracks[column].to_numpy(str) for column in ("artist", "group"))
    relevant_BB = (artist_B[:, None] == artist_B) & (artist_B != "")
    same_group_BB = (group_B[:, None] == group_B) & (group_B != "")
    candidate_BB = ~same_group_BB & ~np.eye(len(tracks), dtype=bool)
    return Task("same artist", np.ones(len(tracks), bool), relevant_BB, candidate_BB)


def compare(table: pd.DataFrame, tasks: list[Task]) -> pd.DataFrame:
    """Return the rows of all tasks, as `summarize` does."""
    tracks = tracks_of(table)
    features = [c for c in table.columns if c not in ("network", *IDENTITY)]
    similarities = {"chance": np.zeros((len(tracks), len(tracks)))}
    for network, rows in table.groupby("network"):
        x_BD = rows.set_index("track").loc[tracks["track"], features].to_numpy()
        similarities[str(network)] = cosine(x_BD, x_BD)
    parts = [row for task in tasks for row in _rows(task, similarities, units_of(tracks))]
    columns = ["what", "network", "figure", "value", "low", "high", "num_tracks", "left_out"]
    return pd.DataFrame(parts, columns=columns)


def _rows(
    task: Task, similarities: dict[str, np.ndarray], units_B: np.ndarray
) -> Iterator[tuple[object, ...]]:
    query_B, among_QC = task.query_B, task.candidate_BB[task.query_B]
    ranked = {
        network: figures(similarity[query_B], task.relevant_BB[query_B], among_QC)
        for network, similarity in similarities.items()
    }
    near = {name: nearest(similarity[query_B], among_QC) for name, similarity in similarities.items()}
    counts_Q = ranked["chance"]["ndcg"].notna().to_numpy()
    counted = int(counts_Q.sum()), int((~counts_Q).sum())
    pairs = [("trained", other) for other in AGAINST]
    for name in FIGURES:
        value_by = {network: table[name].to_numpy()[counts_Q] for network, table in ranked.items()}
        value_by |= {f"{a} - {b}": value_by[a] - value_by[b] for a, b in pairs}
        for network, value_Q in value_by.items():
            value = value_Q.mean() if len(value_Q) else np.nan
            of = checkpoint_interval(value_Q, units_B[query_B][counts_Q]) if len(value_Q) else UNKNOWN
            yield task.what, network, name, value, of.low, of.high, *counted
    for place, name in enumerate(HUBNESS):
        metrics = {network: _hubness(near_QC, place) for network, near_QC in near.items()}
        metrics |= {f"{a} - {b}": _difference(metrics[a], metrics[b]) for a, b in pairs}
        for network, metric in metrics.items():
            value = metric(np.arange(query_B.sum()))
            of = bootstrap_interval(metric, blocks(units_B[query_B]))
            yield task.what, network, name, value, of.low, of.high, int(query_B.sum()), 0


def blocks(units_B: np.ndarray) -> np.ndarray:
    """Return units put together so far that `bootstrap_interval` leaves out one block after the
    other (jackknife): to draw a query twice would make its neighbours hubs."""
    return np.unique(units_B, return_inverse=True)[1] % (MIN_UNITS - 1)


Metric = Callable[[np.ndarray], float]


def _hubness(near_QC: np.ndarray, place: int) -> Metric:
    return lambda rows: hubness(near_QC[rows])[place]


def _difference(first: Metric, second: Metric) -> Metric:
    return lambda rows: first(rows) - second(rows)
