"""What was found, in the charts of the page."""

import numpy as np
import pandas as pd

from zoo.datasets.base import labels_of
from zoo.exploring import charts, counts, spectrum, tonality
from zoo.exploring.look import Look
from zoo.exploring.measures import MEASURES

MOST_RANGES = 15  # classes whose measures are drawn


def figures(look: Look) -> dict[str, charts.Spec]:
    """Return the charts by name."""
    table, tracks = look.table, look.sample.tracks
    shown, labels = table.head(counts.MOST_CLASSES), labels_of(tracks)
    drawn = {
        "balance": charts.balance(shown),
        "keys": charts.keys(_key_counts(tracks)),
        "spectra": _spectra(look, labels),
    }
    if table["artists"].any():
        drawn["artists"] = charts.artists(shown)
    if look.together is not None:
        drawn["together"] = charts.together(look.together)
    if len(look.place_M2):
        drawn["map"] = _map(look)
    for name, about in MEASURES.items():
        if not varies(tracks[name]):
            continue
        title = f"{about.title.lower()}, {about.unit}"
        drawn[name] = charts.histogram({"all": tracks[name].to_numpy()}, title)
        drawn[f"{name}-by-class"] = charts.ranges(_ranges(tracks[name], labels, table), title)
    return drawn


def varies(values: pd.Series) -> bool:
    """Return whether a measure differs between tracks."""
    return bool(values.max() - values.min() > 1e-6)


def _key_counts(tracks: pd.DataFrame) -> pd.Series:
    found = tracks["key"].value_counts()
    return found.reindex([k for k in (*tonality.KEYS, tonality.UNCLEAR) if k in found])


def _ranges(values: pd.Series, labels: pd.Series, table: pd.DataFrame) -> pd.DataFrame:
    """Return 10th, 50th and 90th percentiles by class."""
    by = values.loc[labels.index].groupby(labels.to_numpy())
    found = (
        by.quantile(np.array([0.1, 0.5, 0.9])).unstack().set_axis(["low", "median", "high"], axis=1)
    )
    found["tracks"] = by.size()
    names = [name for name in table.index[:MOST_RANGES] if name in found.index]
    return found.loc[names].rename_axis("class")


def _spectra(look: Look, labels: pd.Series) -> charts.Spec:
    names = [n for n in look.table.index[: charts.MOST_COLORS] if (labels == n).any()]
    level_KF = np.stack([look.sample.thirds_BF[labels.index[labels == n]].mean(0) for n in names])
    return charts.spectra(level_KF, spectrum.CENTRES, names)


def _map(look: Look) -> charts.Spec:
    tracks = look.sample.tracks.iloc[look.drawn]
    colored = look.table.index[: charts.MOST_COLORS].tolist()
    first = tracks["label"].str.split("|").str[0]
    points = pd.DataFrame(
        {
            "x": look.place_M2[:, 0].round(2).tolist(),
            "y": look.place_M2[:, 1].round(2).tolist(),
            "row": look.drawn,
            "track": tracks["track"].to_numpy(),
            "label": tracks["label"].to_numpy(),
            "class": first.where(first.isin(colored), charts.OTHERS).to_numpy(),
            "plays": [int(row in look.players) for row in look.drawn.tolist()],
        }
    )
    return charts.scatter(points, colored)
