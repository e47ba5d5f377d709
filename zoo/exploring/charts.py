"""The page's charts as Vega-Lite specifications (Altair), with their few data inside."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
MOST_COLORS = 10  # classes with a colour of their own, the most frequent ones
OTHERS = "other classes"
GREY = "#9aa1a9"
COLORS = (  # Tableau 10, without its grey
    *("#4c78a8", "#f58518", "#e45756", "#72b7b2", "#54a24b"),
    *("#b79a20", "#b279a2", "#ff9da6", "#9d755d", "#1b2a41"),
)
BLUE = COLORS[0]
Spec = dict[str, Any]


def color(classes: list[str], also_others: bool = False) -> alt.Color:
    """Return a colour for each of the first classes of column `class`, grey for the others."""
    names = [*classes[:MOST_COLORS], *([OTHERS] if also_others else [])]
    colors = [*COLORS[: len(classes[:MOST_COLORS])], *([GREY] if also_others else [])]
    scale = alt.Scale(domain=names, range=colors)
    return alt.Color("class:N", title="class", scale=scale, sort=names)


def _finished(chart: Any, about: str, height: int) -> Spec:
    sized = chart.properties(width="container", autosize=FIT, height=height, description=about)
    return sized.to_dict()


def _names() -> alt.Y:
    return alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=150))


def balance(table: pd.DataFrame) -> Spec:
    """Tracks of each class, by split; `table` as of `counts.by_class`."""
    splits = [c for c in table.columns if c not in ("tracks", "artists", "largest")]
    rows = table[splits].reset_index().melt("class", var_name="split", value_name="tracks")
    scale = alt.Scale(domain=splits, range=[BLUE, "#b79a20", "#e45756", GREY][: len(splits)])
    chart = alt.Chart(rows).mark_bar()
    chart = chart.encode(
        alt.X("tracks:Q", title="tracks", axis=alt.Axis(tickMinStep=1)),
        _names(),
        alt.Color("split:N", title="split", scale=scale, sort=splits),
        order=alt.Order("order:Q"),
        tooltip=["class:N", "split:N", "tracks:Q"],
    ).transform_calculate(order=f"indexof({splits}, datum.split)")
    return _finished(chart, "Tracks of each class, by split", 20 * len(table))


def artists(table: pd.DataFrame) -> Spec:
    """Artists of each class."""
    chart = alt.Chart(table[["artists"]].reset_index()).mark_bar(color=BLUE)
    chart = chart.encode(
        alt.X("artists:Q", title="known artists", axis=alt.Axis(tickMinStep=1)),
        _names(),
        tooltip=["class:N", "artists:Q"],
    )
    return _finished(chart, "Known artists of each class", 20 * len(table))


def together(rows: pd.DataFrame) -> Spec:
    """The heat map of labels that go together, of `counts.together`."""
    title = "share of the tracks of the row"
    axis = alt.Axis(labelAngle=-45, labelLimit=120)
    chart = alt.Chart(rows.round({"share": 3})).mark_rect()
    chart = chart.encode(
        alt.X("x:N", title="that also have", sort=None, axis=axis),
        alt.Y("y:N", title="tracks with", sort=None, axis=alt.Axis(labelLimit=120)),
        alt.Color("share:Q", title=title, scale=alt.Scale(scheme="blues", domain=[0, 1])),
        tooltip=["y:N", "x:N", alt.Tooltip("share:Q", format=".0%"), "tracks:Q"],
    )
    return _finished(chart, "Labels that go together", 18 * rows["y"].nunique())


def histogram(values: dict[str, np.ndarray], title: str) -> Spec:
    """How a measure is distributed, in each of one or two libraries (by name); the outermost bars
    hold also what lies beyond them."""
    is_one = len(values) == 1
    rows = _bins(values)
    scale = alt.Scale(domain=list(values), range=[BLUE] if is_one else [COLORS[1], BLUE])
    legend = None if is_one else alt.Legend(orient="top", labelLimit=300)
    height, y_title = ("tracks", "tracks") if is_one else ("percent", "% of tracks")
    chart = alt.Chart(rows).mark_rect(opacity=1.0 if is_one else 0.55, stroke="white")
    chart = chart.encode(
        alt.X("low:Q", title=title, scale=alt.Scale(nice=False, zero=False)),
        alt.X2("high:Q"),
        alt.Y(f"{height}:Q", title=y_title, scale=alt.Scale(zero=True)),
        alt.Y2(datum=0),
        alt.Color("library:N", title=None, scale=scale, legend=legend),
        strokeWidth=alt.value(0.5),
        tooltip=[
            *([] if is_one else ["library:N"]),
            *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("low", "high", "tracks")),
            alt.Tooltip("percent:Q", format=".1f", title="% of tracks"),
        ],
    )
    return _finished(chart, f"Histogram of {title}", 170)


def _bins(values: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return for each library and bin of `_edges`: `low`, `high`, `tracks`, and `percent` of the
    library's."""
    finite = {name: value_B[np.isfinite(value_B)] for name, value_B in values.items()}
    edges = _edges(np.concatenate(list(finite.values())))
    parts = []
    for name, value_B in finite.items():
        tracks, _ = np.histogram(np.clip(value_B, edges[0], edges[-1]), edges)
        bins = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "tracks": tracks})
        parts.append(bins.assign(percent=100 * tracks / max(1, tracks.sum()), library=name))
    return pd.concat(parts).round(6)


def _edges(value_B: np.ndarray, count: int = 30) -> np.ndarray:
    """Return the edges of bins from the first to the last half percent."""
    if not len(value_B):
        return np.array([0.0, 1.0])
    low, high = np.percentile(value_B, [0.5, 99.5])
    if high - low < 1e-6:
        return np.array([low - 0.5, low + 0.5]) if low else np.array([0.0, 1.0])
    return np.linspace(low, high, count + 1)


def ranges(table: pd.DataFrame, title: str) -> Spec:
    """A measure by class: the median, and the middle 80 % of tracks; columns `low`, `median`,
    `high`."""
    base = alt.Chart(table.reset_index().round(3)).encode(
        _names(), tooltip=["class:N", "low:Q", "median:Q", "high:Q", "tracks:Q"]
    )
    x = alt.X("low:Q", title=title, scale=alt.Scale(zero=False))
    line = base.mark_rule(size=5, color=BLUE, opacity=0.4).encode(x, alt.X2("high:Q"))
    dot = base.mark_point(filled=True, size=60, color=BLUE).encode(alt.X("median:Q", title=title))
    return _finished(line + dot, f"{title} by class", 18 * len(table))


def keys(counts: pd.Series) -> Spec:
    """How many tracks seem to be in each key."""
    rows = counts.rename("tracks").rename_axis("key").reset_index()
    chart = alt.Chart(rows).mark_bar(color=BLUE)
    chart = chart.encode(
        alt.X("tracks:Q", title="tracks", axis=alt.Axis(tickMinStep=1)),
        alt.Y("key:N", title=None, sort=None),
        tooltip=["key:N", "tracks:Q"],
    )
    return _finished(chart, "Tracks by estimated key", 16 * len(rows))


def spectra(level_KF: np.ndarray, hz_F: np.ndarray, classes: list[str]) -> Spec:
    """The mean spectrum of each class in thirds of octaves."""
    rows = pd.DataFrame(
        [
            {"class": name, "hz": round(hz, 1), "level": round(level, 2)}
            for name, level_F in zip(classes, level_KF.tolist(), strict=True)
            for hz, level in zip(hz_F.tolist(), level_F, strict=True)
        ]
    )
    ticks = alt.Axis(values=[31.25, 63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000], format="~s")
    chart = alt.Chart(rows).mark_line(strokeWidth=2)
    chart = chart.encode(
        alt.X("hz:Q", title="frequency, Hz", scale=alt.Scale(type="log", nice=False), axis=ticks),
        alt.Y("level:Q", title="share of the power, dB", scale=alt.Scale(zero=False)),
        color(classes),
        tooltip=["class:N", "hz:Q", "level:Q"],
    )
    return _finished(chart, "Mean spectrum of each class", 320)


def scatter(points: pd.DataFrame, classes: list[str]) -> Spec:
    """The map of tracks: `x`, `y`, `track`, `label`, `class` (its colour), `plays` (0, 1)."""
    has_others = bool((points["class"] == OTHERS).any())
    blank = alt.Axis(labels=False, ticks=False, grid=False)
    rim = alt.condition("datum.plays == 1", alt.value("#1c2127"), alt.value("transparent"))
    size = 50 if len(points) <= 1500 else 20
    chart = alt.Chart(points).mark_circle(size=size, opacity=0.8, strokeWidth=1.5)
    chart = chart.encode(
        alt.X("x:Q", title="t-SNE 1 (no unit)", axis=blank, scale=alt.Scale(zero=False)),
        alt.Y("y:Q", title="t-SNE 2 (no unit)", axis=blank, scale=alt.Scale(zero=False)),
        color(classes, also_others=has_others),
        stroke=rim,
        tooltip=["track:N", "label:N"],
    )
    return _finished(chart, "Map of the tracks: alike ones lie near each other", 480)
