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
from scipy.special import stdtrit

from benchmarks.comparing import padded
from benchmarks.measure import read
from benchmarks.retrieval import FIGURES, cosine, figures, hubness, nearest
from zoo.datasets.base import units_of
from zoo.resampling import pseudo_values
from zoo.results import IDENTITY, Result
from zoo.statistics import LEVEL, checkpoint_interval, spread, unit_sums

NETWORKS = ("trained", "random", "chance")
HUBNESS = ("hubness", "orphans")
JACKKNIFE_GROUPS = 40  # of units, at most
Values = dict[str, np.ndarray]
"""By network."""
Bounds = Callable[[np.ndarray, np.ndarray], tuple[float, float]]
"""From values `[B]` and their units `[B]` to the 95 % interval of the mean."""


class Task(NamedTuple):
    """Queries and candidates: all pairs of tracks, and what counts among them."""

    what: str
    query: np.ndarray  # of the tracks, those that query [B]
    relevant: np.ndarray  # to each track as a query (row) [B,B]
    candidate: np.ndarray  # likewise


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return the figures of retrieval: columns what (same genre, same artist), network (trained,
    random, chance, and differences), figure, value, low, high, num_tracks (queries that count) and
    left_out (queries without a relevant candidate).

    Intervals are over the queries' units; the candidates stay as they are. Hubness and orphans are
    of all queries.
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
    units_B = units_of(tracks).to_numpy(str)
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
    similarities = {}
    for network in NETWORKS[:-1]:
        of_network = table[table["network"] == network].set_index("track")
        x_BD = of_network.loc[tracks["track"], features].to_numpy()
        similarities[network] = cosine(x_BD, x_BD)
    similarities["chance"] = np.zeros((len(tracks), len(tracks)))  # all orders alike
    units_B = units_of(tracks).to_numpy()
    rows = [row for task in tasks for row in _rows(task, similarities, units_B)]
    columns = ["what", "network", "figure", "value", "low", "high", "num_tracks", "left_out"]
    return pd.DataFrame(rows, columns=columns)


def _rows(task: Task, similarities: Values, units_B: np.ndarray) -> Iterator[tuple[object, ...]]:
    units_Q, relevant_QC = units_B[task.query], task.relevant[task.query]
    candidate_QC = task.candidate[task.query]
    counts_Q = (relevant_QC & candidate_QC).any(1)
    ranked, hubs = {}, {}
    for network, similarity_BB in similarities.items():
        similarity_QC = similarity_BB[task.query]
        ranked[network] = figures(similarity_QC, relevant_QC, candidate_QC)[counts_Q]
        hubs[network] = _jackknifed(nearest(similarity_QC, candidate_QC), units_Q)
    num_counted, num_left_out = int(counts_Q.sum()), int((~counts_Q).sum())
    for name in FIGURES:
        values = {network: table[name].to_numpy() for network, table in ranked.items()}
        for row in _compared(values, units_Q[counts_Q], _share_interval):
            yield task.what, row[0], name, *row[1:], num_counted, num_left_out
    for place, name in enumerate(HUBNESS):
        values = {network: value_2G[place] for network, value_2G in hubs.items()}
        for row in _compared(values, np.arange(len(values["chance"])), _t_interval):
            yield task.what, row[0], name, *row[1:], len(units_Q), 0


def _compared(
    values: Values, units_B: np.ndarray, interval: Bounds
) -> Iterator[tuple[str, float, float, float]]:
    """Yield the mean and its interval for each network, and for the trained one less the others."""
    for name in NETWORKS:
        yield name, *_mean(values[name], units_B, interval)
    for name in NETWORKS[1:]:
        apart_B = values["trained"] - values[name]
        yield f"trained - {name}", *_mean(apart_B, units_B, _t_interval)


def _mean(value_B: np.ndarray, units_B: np.ndarray, interval: Bounds) -> tuple[float, float, float]:
    if len(value_B) == 0 or np.isnan(value_B).any():
        return np.nan, np.nan, np.nan
    return float(value_B.mean()), *interval(value_B, units_B)


def _share_interval(value_B: np.ndarray, units_B: np.ndarray) -> tuple[float, float]:
    """Return the interval for a mean of values that can only lie in 0..1."""
    of = checkpoint_interval(value_B, units_B)
    return of.low, of.high


def _t_interval(value_B: np.ndarray, units_B: np.ndarray) -> tuple[float, float]:
    """Return the interval for a mean of values of either sign, such as differences, whatever signs
    were seen; where all are alike, others might not be (see `padded`)."""
    sum_G, size_G = unit_sums(value_B, units_B)
    if len(size_G) == 1:
        return -np.inf, np.inf
    of = spread(sum_G, size_G)
    if of.variance == 0:
        of = padded(of, len(value_B))
    half = stdtrit(of.df, (1 + LEVEL) / 2) * np.sqrt(of.variance)
    return float(of.mean - half), float(of.mean + half)


def _jackknifed(near_QC: np.ndarray, units_Q: np.ndarray) -> np.ndarray:
    """Return for each of `HUBNESS` values whose mean it is, and whose spread says how sure it is
    `[2,G]`: one for each group of units left out. To draw queries twice instead, as a bootstrap
    does, would make hubs of their neighbours."""
    whole_2 = np.array(hubness(near_QC))
    if len(np.unique(units_Q)) < 2:
        return whole_2[:, None]
    metrics = [lambda rows, place=place: hubness(near_QC[rows])[place] for place in range(2)]
    value_2G = np.array([pseudo_values(metric, units_Q, JACKKNIFE_GROUPS) for metric in metrics])
    return value_2G - value_2G.mean(1, keepdims=True) + whole_2[:, None]
