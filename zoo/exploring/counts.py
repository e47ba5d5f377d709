"""What a manifest says without any audio: classes by split, labels that go together, artists."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from zoo.datasets.base import SPLITS, Manifest, labels_of

NO_SPLIT = "no split"
MOST_CLASSES = 40  # that are drawn, the most frequent ones; all are in the table
MOST_TAGS = 25  # of co-occurrence


def by_class(manifest: Manifest) -> pd.DataFrame:
    """Return a row for each class, the most frequent first: tracks by split and in `tracks`,
    `artists` and the largest one's share of tracks in `largest` (NaN where artists are unknown)."""
    frame = manifest.frame
    labels = labels_of(frame)
    rows = frame.loc[labels.index, ["split", "artist"]].assign(label=labels.to_numpy())
    splits = rows["split"].replace("", NO_SPLIT)
    counts = pd.crosstab(rows["label"], splits).reindex(list(manifest.classes), fill_value=0)
    counts = counts[[s for s in (*SPLITS, NO_SPLIT) if s in counts]]
    known = rows[rows["artist"] != ""].groupby(["label", "artist"]).size().groupby("label")
    table = counts.assign(tracks=counts.sum(axis=1), artists=known.size())
    table["largest"] = known.max() / table["tracks"]
    table["artists"] = table["artists"].fillna(0).astype(int)
    return table.sort_values("tracks", ascending=False, kind="stable").rename_axis("class")


def together(manifest: Manifest) -> pd.DataFrame:
    """Return the shares of tracks with label `y` that also have label `x`, of the most frequent
    labels: rows `y`, `x`, `share`, `tracks`."""
    labels = labels_of(manifest.frame)
    names = labels.value_counts().index[:MOST_TAGS]
    codes = pd.Index(names).get_indexer(labels)
    has_BK = csr_array(
        (np.ones((codes >= 0).sum(), np.int64), (labels.index[codes >= 0], codes[codes >= 0])),
        shape=(len(manifest.frame), len(names)),
    )
    both_KK = (has_BK.T @ has_BK).toarray()
    y, x = (place.ravel() for place in np.indices(both_KK.shape))
    share = both_KK / np.maximum(both_KK.diagonal(), 1)[:, None]
    return pd.DataFrame(
        {"y": names[y], "x": names[x], "share": share.ravel(), "tracks": both_KK.ravel()}
    )


def imbalance(table: pd.DataFrame) -> str:
    """Return one sentence about how even the classes are."""
    tracks = table["tracks"]
    if len(tracks) < 2:
        return "There is one class only."
    most, least = tracks.index[0], tracks.index[-1]
    if tracks.iloc[0] == tracks.iloc[-1]:
        return f"Each of the {len(tracks):,} classes has {tracks.iloc[0]:,} tracks."
    share = (tracks / tracks.sum()).to_numpy()
    evenness = -np.sum(share[share > 0] * np.log(share[share > 0])) / np.log(len(share))
    return (
        f"The largest class is {most} ({tracks.iloc[0]:,} tracks), the smallest {least} "
        f"({tracks.iloc[-1]:,}). Evenness is {evenness:.2f} (1: all classes alike; the entropy of "
        "their shares, divided by its maximum)."
    )
