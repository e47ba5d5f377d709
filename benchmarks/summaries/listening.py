"""What `listening` amounts to: how far each thing that is changed alone changes the prediction.

`what` is the change. `shift` is the mean total variation between the probabilities of a track and
of its version (0 to 1), over all pairs. The rest is of pairs whose original is recognised:
`changed` is the share of versions taken for another genre than the original; `followed` the share
taken for the genre that the version is, where that is another one; `lured` the share taken for the
genre whose typical kit it got. `accuracy` of `original` says how many originals are recognised.
Intervals are over artists.

A model that listens to what makes a genre follows swing, metre, syncopation, clave, walking bass,
form, mode and chord rate, and stays where kit, key, tempo, mix or playing change.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measure import read
from zoo.datasets.synth import CONTRASTS
from zoo.results import Result
from zoo.statistics import checkpoint_interval

ORIGINAL = "original"
PANELS = 4  # in a row
COLORS = {"followed": "tab:blue", "lured": "tab:red", "changed": "0.8"}
LEGEND = {
    "followed": "followed: taken for the genre that it is now",
    "lured": "lured: taken for the genre whose kit it got",
    "changed": "changed otherwise",
}


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return a row for each change and figure; NaN where no original is recognised."""
    table, classes = read(folder, "listening"), np.array(result.protocol.classes)
    probability_BK = table[[f"p:{name}" for name in classes]].to_numpy()
    table = table.assign(prediction=classes[probability_BK.argmax(1)])
    is_original = table["change"] == ORIGINAL
    own = pd.Series(np.flatnonzero(is_original), table["track"][is_original])[table["track"]]
    table["shift"] = np.abs(probability_BK - probability_BK[own]).sum(1) / 2
    before = table["prediction"].to_numpy()[own]
    table["changed"] = table["prediction"] != before
    table["recognised"] = before == table["label"]
    table["accuracy"] = table["recognised"]
    table["followed"] = table["prediction"] == table["expected"]
    table["lured"] = table["prediction"] == table["lure"]
    changes = table.groupby("change", sort=False)
    rows = [_row(str(name), *part) for name, of in changes for part in _figures(str(name), of)]
    return pd.DataFrame(rows)


def _figures(change: str, pairs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what there is to say about a change, and the pairs that say it."""
    recognised = pairs[pairs["recognised"]]
    if change == ORIGINAL:
        yield "accuracy", pairs
        return
    yield "shift", pairs
    yield "changed", recognised
    if (pairs["expected"] != pairs["label"]).all():
        yield "followed", recognised
    if (pairs["lure"] != "").all():
        yield "lured", recognised


def _row(change: str, figure: str, pairs: pd.DataFrame) -> dict[str, object]:
    value, low, high = np.nan, np.nan, np.nan
    if len(pairs):
        values = pairs[figure].to_numpy(np.float64)
        interval = checkpoint_interval(values, pairs["artist"].to_numpy())
        value, low, high = float(values.mean()), interval.low, interval.high
    return {
        "what": change,
        "figure": figure,
        "value": value,
        "low": low,
        "high": high,
        "num_tracks": len(pairs),
    }


def draw(file: Path, summaries: Mapping[str, pd.DataFrame]) -> None:
    """Draw what models listen to, a panel each: the share of predictions that each change moves."""
    num_rows = -(-len(summaries) // PANELS)
    num_columns = min(len(summaries), PANELS)
    size = (2.2 + 2.8 * num_columns, 1.3 + 3.6 * num_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, summary) in zip(panels.flat, summaries.items(), strict=False):
        _panel(axes, summary)
        accuracy = summary.set_index("figure")["value"].get("accuracy", np.nan)
        axes.set_title(f"{name} ({accuracy:.0%} recognised)", size=10)
    for axes in panels.flat[len(summaries) :]:
        axes.set_axis_off()
    handles = [panels.flat[0].barh(0, 0, color=color) for color in COLORS.values()]
    figure.legend(handles, LEGEND.values(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle("one thing changed: what becomes of the prediction (share, 95 % interval)")
    figure.savefig(file, dpi=120)


def _panel(axes: Axes, summary: pd.DataFrame) -> None:
    of = summary.set_index(["figure", "what"])[["value", "low", "high"]].astype(float)
    changes = summary["what"][summary["figure"] == "changed"]
    order = [*CONTRASTS, *(change for change in changes if change not in CONTRASTS)]
    order = [change for change in order if change in set(changes)]
    # with a gap between what makes a genre and what does not
    places = [place + (change not in CONTRASTS) for place, change in enumerate(order)]
    for place, change in zip(places, order, strict=True):
        axes.barh(place, of.loc[("changed", change)].to_numpy()[0], color=COLORS["changed"])
        shown = [f for f in ("followed", "lured") if (f, change) in of.index] or ["changed"]
        value, low, high = of.loc[(shown[0], change)].to_numpy()
        axes.barh(place, value, color=COLORS[shown[0]])
        axes.hlines(place, low, high, color="black", linewidth=1)
    axes.set_yticks(places, order)
    axes.set(xlim=(0, 1), ylim=(places[-1] + 0.6, -0.6))
