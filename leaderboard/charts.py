"""The page's charts as Vega-Lite specifications, without data: the page fills in `rows` and titles.

A title such as `__x__` stands for what the page knows only when it draws.
"""

from functools import cache
from typing import Any

import altair as alt

ROWS = alt.NamedData("rows")
FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
NAME: dict[str, Any] = {"dy": -7, "clip": True, "limit": 170}
COLOR = alt.Color("series:N", title=None, sort=None, scale=alt.Scale(scheme="tableau10"))


@cache
def specifications() -> dict[str, Any]:
    """Return the charts by name."""
    charts = {"cost": _cost(), "lines": _lines(), "dots": _dots(), "heat": _heat()}
    return {name: chart.to_dict() for name, chart in charts.items()}


def _cost() -> alt.LayerChart:
    """The metric against a cost, with intervals, and the front of those about which there are
    claims: no other of them is cheaper and better."""
    base = alt.Chart(ROWS).encode(
        alt.X("cost:Q", title="__x__", scale=alt.Scale(type="log", nice=False, padding=20)),
    )
    score = alt.Y("mean:Q", title="__y__", scale=alt.Scale(zero=False))
    tooltip = ["name:N", "mean:Q", "low:Q", "high:Q", alt.Tooltip("cost:Q", title="__x__")]
    interval = base.mark_rule(opacity=0.35).encode(
        alt.Y("low:Q", title="__y__"), alt.Y2("high:Q"), tooltip=tooltip
    )
    sure = alt.condition("datum.isClaim", alt.value(1), alt.value(0.4))
    points = base.mark_point(filled=True, size=90).encode(
        score,
        alt.Color("kind:N", title="kind"),
        alt.Shape("kind:N", title="kind"),
        opacity=sure,
        tooltip=tooltip,
    )
    left = base.transform_filter("datum.side == 'left'").mark_text(align="right", dx=-8, **NAME)
    right = base.transform_filter("datum.side == 'right'").mark_text(align="left", dx=8, **NAME)
    names = left.encode(score, text="label:N") + right.encode(score, text="label:N")
    front = (
        base.transform_filter("datum.isClaim")
        .transform_window(
            best="max(mean)",
            sort=[alt.SortField("cost"), alt.SortField("mean", "descending")],
            frame=[None, 0],
        )
        .transform_filter("datum.mean >= datum.best")
        .mark_line(interpolate="step-after", strokeDash=[5, 4], opacity=0.7)
        .encode(score)
    )
    return (interval + front + points + names).properties(
        width="container",
        autosize=FIT,
        height=340,
        description="__y__ against __x__, with the Pareto front",
    )


def _lines() -> alt.LayerChart:
    base = alt.Chart(ROWS).encode(
        alt.X("x:O", title="__x__", sort=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        alt.Y("y:Q", title="__y__", scale=alt.Scale(zero=False)),
        COLOR,
        tooltip=["series:N", "x:O", "y:Q"],
    )
    return (base.mark_line() + base.mark_point(filled=True, size=50)).properties(
        width="container", autosize=FIT, height=240, description="__y__ against __x__"
    )


def _dots() -> alt.Chart:
    return (
        alt.Chart(ROWS)
        .mark_point(filled=True, size=60)
        .encode(
            alt.X("x:Q", title="__x__"),
            alt.Y("y:N", title=None, sort=None, axis=alt.Axis(grid=True, labelLimit=220)),
            COLOR,
            tooltip=["series:N", "y:N", "x:Q"],
        )
        .properties(
            width="container", autosize=FIT, height=alt.Step(20), description="__x__ by condition"
        )
    )


def _heat() -> alt.LayerChart:
    base = alt.Chart(ROWS).encode(
        alt.X("x:N", title="__x__", sort=None, axis=alt.Axis(labelAngle=-40, labelLimit=180)),
        alt.Y("y:N", title="__y__", sort=None, axis=alt.Axis(labelLimit=180)),
        tooltip=["y:N", "x:N", alt.Tooltip("value:Q", title="__value__")],
    )
    cells = base.mark_rect().encode(
        alt.Color("value:Q", title="__value__", scale=alt.Scale(scheme="blues", domain=[0, 1]))
    )
    white = alt.condition("datum.value > 0.5", alt.value("white"), alt.value("black"))
    numbers = base.mark_text(fontSize=11).encode(text="text:N", color=white)
    return (cells + numbers).properties(
        width="container",
        autosize=FIT,
        height=alt.Step(24),
        description="__value__ of __y__ by __x__",
    )
