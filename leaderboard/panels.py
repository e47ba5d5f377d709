"""What further measures and comparisons a protocol's section shows, ready for JSON."""

import json
from collections.abc import Sequence
from itertools import chain, combinations
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.comparing import Comparison, compare_checkpoints
from benchmarks.panels import PANELS, panel, summaries
from benchmarks.standings import Entry, Standings
from leaderboard.board import Section
from leaderboard.details import guesses
from leaderboard.names import short_name
from zoo.results import recipe_hash

MOST_COMPARED = 100  # entries of a protocol whose pairs the page has; `compare` has the others
LISTENING = ("followed", "lured", "changed")
NO_CLAIM: list[float | None] = [None] * 4


def measured(section: Section) -> dict[str, pd.DataFrame]:
    """Return the whole summary of each measure that was taken of any entry, by its name."""
    tables = {name: summaries(name, section.entries) for name in PANELS}
    return {name: table for name, table in tables.items() if len(table)}


def tables(section: Section, found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return a small table of each measure, a row for each entry."""
    return {name: panel(name, table, section.entries) for name, table in found.items()}


def robustness(table: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Return the mean drop over seeds of each entry under each condition."""
    drops = table[table["figure"] == f"{metric}_drop"]
    musical = np.where(drops["panel"] == "music", " (music)", "")
    return _means(drops.assign(what=drops["what"] + musical), what="y", value="x")


def length(table: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Return the mean metric over seeds of each entry by seconds heard, "all" last."""
    levels = table[table["figure"] == metric]
    order = levels["what"].str.extract(r"^([\d.]+)")[0].astype(float).fillna(np.inf)
    levels = levels.assign(order=order).sort_values("order", kind="stable")
    return _means(levels, what="x", value="y")


def listening(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each entry, change and figure of `LISTENING` the mean over seeds."""
    shown = table[table["figure"].isin(LISTENING)].dropna(subset="value")
    means = shown.groupby(["figure", "what", "model"], sort=False)["value"].mean()
    return _records(means.reset_index(), {"what": "y", "model": "x"})


def _means(table: pd.DataFrame, what: str, value: str) -> list[dict[str, Any]]:
    """Return the mean value of each model (`series`) at each `what`, under these names."""
    means = table.groupby(["what", "model"], sort=False)["value"].mean()
    return _records(means.reset_index(), {"what": what, "value": value, "model": "series"})


def _records(table: pd.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    text = table.rename(columns=names).to_json(orient="records", double_precision=4)
    return json.loads(text)


def efficiency(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Return for each test the metric of each recipe that learned from several shares of the
    training tracks, all else being the same."""
    tests: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for section in sections:
        for entry in section.entries:
            recipe, point = _share(entry)
            tests.setdefault(_tested(entry), {}).setdefault(recipe, []).append(point)
    several = {
        test: [points for points in recipes.values() if len({p["share"] for p in points}) > 1]
        for test, recipes in tests.items()
    }
    return [
        {"title": found[0][0]["title"], "points": sorted(chain(*found), key=_by_share)}
        for found in several.values()
        if found
    ]


def _tested(entry: Entry) -> str:
    """Return what was tested, whatever was learned from."""
    protocols = [run.result.protocol for run in entry.runs]
    names = {f"{p.dataset} {p.evaluation} {p.fold} {p.test_fingerprint}" for p in protocols}
    return ", ".join(sorted(names))


def _share(entry: Entry) -> tuple[str, dict[str, Any]]:
    """Return what identifies a recipe but for its share of the tracks, and the point it gives."""
    result, tracks = entry.runs[0].result, entry.seeds[0].num_tracks
    dataset = result.config["dataset"]
    share = dataset.get("share") or 1.0
    series = f"{short_name(result)} {result.frontend}"
    config = {**result.config, "dataset": {**dataset, "share": None}}
    recipe = recipe_hash(config, result.config.get("checkpoint"))
    point = {
        "title": f"{result.protocol.dataset}, {tracks} test tracks",
        "series": series,
        "share": share,
        "x": f"{100 * share:g}%",
        "y": round(entry.mean, 4),
    }
    return f"{series} {recipe}", point


def _by_share(point: dict[str, Any]) -> float:
    return point["share"]


def tracks(section: Section) -> dict[str, Any] | None:
    """Return the test tracks with their genres, and for each entry by how many of its seeds each
    was recognised and what its first seed took it for, a sign a track; None with several labels."""
    protocol = section.protocol
    if protocol.multilabel:
        return None
    names, target_B, _ = guesses(section.entries[0].seeds[0])
    return {
        "names": names.tolist(),
        "genres": target_B.tolist(),
        "right": [_signs(entry.values.sum(0).astype(int)) for entry in section.entries],
        "taken": [_signs(guesses(entry.seeds[0])[2]) for entry in section.entries],
    }


def _signs(numbers: np.ndarray) -> str:
    """Return small numbers as a text of one sign each, "0" for 0 and on from there."""
    return "".join(chr(ord("0") + number) for number in numbers)


def pairs(section: Section) -> dict[str, list[float | None]]:
    """Return what can be said of each two entries, by their places in the section's rows: of the
    architectures difference, low, high, adjusted p-value (None: no claim), and of the first
    checkpoints difference, low, high, p-value."""
    entries = enumerate(section.entries[:MOST_COMPARED])
    return {
        f"{i}-{j}": [*_claim(section.ranked, i, j), *_checkpoints(section, a, b)]
        for (i, a), (j, b) in combinations(entries, 2)
    }


def _claim(ranked: Standings | None, i: int, j: int) -> list[float | None]:
    comparison = ranked.comparisons.get((i, j)) if ranked else None
    if ranked is None or comparison is None:
        return NO_CLAIM
    return _said(comparison, ranked.p_values[i, j])


def _checkpoints(section: Section, a: Entry, b: Entry) -> list[float | None]:
    if section.protocol.multilabel:  # a track is neither right nor wrong
        return NO_CLAIM
    comparison = compare_checkpoints(a.values[0], b.values[0], a.units)
    return _said(comparison, comparison.p_value)


def _said(comparison: Comparison, p_value: float) -> list[float | None]:
    values = comparison.difference, comparison.low, comparison.high, p_value
    return [float(f"{value:.6g}") for value in values]
