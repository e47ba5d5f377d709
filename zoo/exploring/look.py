"""All that is found out about a data set, before it is put into words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from zoo.datasets.base import Manifest, labels_of
from zoo.exploring import space
from zoo.exploring.against import Against
from zoo.exploring.checks import findings
from zoo.exploring.counts import by_class, together
from zoo.exploring.excerpts import excerpts, player, spectrograms
from zoo.exploring.sample import Sample
from zoo.findings import Finding

MOST_EXAMPLES = 12  # classes with an example
MOST_SUSPECTS, MOST_OUTLIERS = 20, 10  # that are listed, with players


@dataclass
class Look:
    """What the page shows of a data set."""

    manifest: Manifest
    sample: Sample
    table: pd.DataFrame  # of `counts.by_class`
    together: pd.DataFrame | None  # of `counts.together`, for several labels
    findings: list[Finding]
    model: str | None  # whose embeddings are the features; None: those of the sound
    drawn: np.ndarray  # rows of the sample on the map
    place_M2: np.ndarray  # where they are on the map
    doubts: space.Doubts | None
    suspects: pd.DataFrame  # rows of `doubts.table` that are listed
    remoteness_B: np.ndarray
    outliers: list[int]  # rows of the sample, the most remote first
    examples: dict[str, int]  # class -> row of the sample
    notes: Sequence[str]  # sentences for the head of the page
    against: Against | None = None
    players: dict[int, str] = field(default_factory=dict)  # row -> data URI
    pictures: dict[int, dict[str, str]] = field(default_factory=dict)  # row -> front end -> URI


def look(
    manifest: Manifest,
    sample: Sample,
    features_BD: np.ndarray,
    model: str | None,
    notes: Sequence[str],
) -> Look:
    """Find out what there is, from the features of the sample's tracks `[B,D]`."""
    table = by_class(manifest)
    multilabel = bool(manifest.multilabel)
    found = space.doubts(sample.tracks, features_BD, multilabel)
    remoteness_B = space.remoteness(features_BD)
    drawn = np.arange(len(features_BD))
    if len(drawn) > space.MOST_MAPPED:
        drawn = np.sort(np.random.default_rng(0).permutation(drawn)[: space.MOST_MAPPED])
    is_enough = len(drawn) >= space.LEAST_MAPPED
    return Look(
        manifest=manifest,
        sample=sample,
        table=table,
        together=together(manifest) if multilabel else None,
        findings=findings(manifest, sample),
        model=model,
        drawn=drawn,
        place_M2=space.tsne(features_BD[drawn]) if is_enough else np.empty((0, 2)),
        doubts=found,
        suspects=_suspects(found),
        remoteness_B=remoteness_B,
        outliers=np.argsort(-remoteness_B, kind="stable")[:MOST_OUTLIERS].tolist(),
        examples=_examples(sample, features_BD, table.index[:MOST_EXAMPLES].tolist()),
        notes=notes,
    )


def _suspects(found: space.Doubts | None) -> pd.DataFrame:
    """Return the labels that something else is more probable than, or that are improbable."""
    if found is None:
        return pd.DataFrame(columns=["row", "given", "probability", "looks_like"])
    table = found.table
    doubtful = table[(table["probability"] < 0.5) & (table["looks_like"] != table["given"])]
    return doubtful.head(MOST_SUSPECTS)


def _examples(sample: Sample, features_BD: np.ndarray, classes: list[str]) -> dict[str, int]:
    """Return for each class the track whose features are nearest to its mean; no track twice."""
    z_BD = space.standardized(features_BD)
    labels = labels_of(sample.tracks)
    chosen: dict[str, int] = {}
    for name in classes:
        rows = [row for row in labels.index[labels == name] if row not in chosen.values()]
        if rows:
            distance = np.linalg.norm(z_BD[rows] - z_BD[rows].mean(0), axis=1)
            chosen[name] = int(rows[distance.argmin()])
    return chosen


def listen(look: Look, workers: int | None) -> None:
    """Add the players, and the pictures of the examples."""
    examples = list(look.examples.values())
    rows = [*examples, *look.suspects["row"].tolist(), *look.outliers]
    path_of = {row: look.sample.tracks["path"][row] for row in dict.fromkeys(rows)}
    heard = excerpts(list(path_of.values()), workers)
    look.players = {row: player(heard[path]) for row, path in path_of.items() if path in heard}
    look.pictures = {
        row: spectrograms(heard[path_of[row]]) for row in examples if path_of[row] in heard
    }
