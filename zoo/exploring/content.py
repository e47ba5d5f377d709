"""What was found, in the words and tables of the page."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from zoo.exploring import charts, counts, excerpts, space, tonality
from zoo.exploring.figures import MOST_RANGES, figures, varies
from zoo.exploring.look import Look
from zoo.exploring.measures import MEASURES, MOST_SECONDS, NUM_MFCC, RATE
from zoo.exploring.sample import Sample
from zoo.exploring.versus import versus
from zoo.findings import Case, Finding

MOST_CASES = 5  # of a finding
MOST_FAILED = 50
SOUND = (
    f"the mean, deviation and change of {NUM_MFCC} cepstral coefficients, and the range of levels"
)


def content(look: Look, command: str) -> dict[str, Any]:
    """Return what the template shows."""
    table, tracks = look.table, look.sample.tracks
    against, drawn = versus(look) if look.against else (None, {})
    names = dict(zip(look.manifest.frame["path"], look.manifest.frame["track"], strict=True))
    return {
        "name": look.manifest.name,
        "command": command,
        "notes": look.notes,
        "facts": list(_facts(look)),
        "seconds": excerpts.SECONDS,
        "neighbours": space.NEIGHBOURS,
        "sampled": sampled(look.sample),
        "imbalance": counts.imbalance(table),
        "num_drawn": counts.MOST_CLASSES,
        "more_classes": len(table) > counts.MOST_CLASSES,
        "classes": _classes(table),
        "artists": _artists(look),
        "measured": _measured(look.sample),
        "measures": list(_measures(tracks)),
        "num_ranges": MOST_RANGES,
        "more_ranges": len(table) > MOST_RANGES,
        "keys": _keys(tracks),
        "num_colors": charts.MOST_COLORS,
        "more_colors": len(table) > charts.MOST_COLORS,
        "examples": list(_examples(look)),
        "more_examples": len(table) > len(look.examples),
        "mapped": _mapped(look),
        "doubts": _doubts(look),
        "suspects": [
            [_who(look, row)[0], given, _percent(probability), other or "none", _player(look, row)]
            for row, given, probability, other in look.suspects.itertuples(index=False, name=None)
        ],
        "outliers": [
            [*_who(look, row), f"{look.remoteness_B[row]:.1f} times", _player(look, row)]
            for row in look.outliers
        ],
        "audited": _audited(look),
        "findings": [_finding(finding, names) for finding in look.findings],
        "against": against,
        "failed": _failed(look.sample),
        "charts": {**figures(look), **drawn},
    }


def sampled(sample: Sample) -> str:
    """Return which tracks the audio was measured of."""
    number = f"{len(sample.tracks) + len(sample.failed):,}"
    if sample.is_all:
        return f"The audio of all {number} tracks was measured."
    return (
        f"Counts are of the whole library. Audio was measured of {number} of "
        f"{sample.num_listed:,} tracks, drawn at random (a few of each class at least)."
    )


def _facts(look: Look) -> Iterator[tuple[str, str]]:
    frame, tracks = look.manifest.frame, look.sample.tracks
    artists = frame["artist"][frame["artist"] != ""].nunique()
    hours = tracks["seconds"].mean() * len(frame) / 3600
    yield f"{len(frame):,}", "tracks"
    about = "" if look.sample.is_all and look.sample.failed.empty else "about "
    yield f"{about}{hours:,.2f}" if hours < 10 else f"{about}{hours:,.0f}", "hours"
    yield f"{len(look.table):,}", "labels" if look.manifest.multilabel else "classes"
    yield (f"{artists:,}", "known artists") if artists else ("no", "artist is known")
    if not look.sample.failed.empty:
        yield f"{len(look.sample.failed):,}", "unreadable files"


def _classes(table: pd.DataFrame) -> dict[str, Any]:
    shown = table.rename(columns={"largest": "share of the largest artist"})
    rows = [
        [name, *(f"{value:,}" for value in row[:-1]), _percent(row[-1])]
        for name, *row in shown.itertuples()
    ]
    return {"columns": ["class", *shown.columns], "rows": rows}


def _artists(look: Look) -> str:
    frame = look.manifest.frame
    unknown = int((frame["artist"] == "").sum())
    if unknown == len(frame):
        return (
            "The manifest names no artists: nobody can tell whether one is in training and test. "
            "A column artist helps."
        )
    said = "An artist that has most of a class is what a model learns instead of the class."
    return said + (f" Of {unknown:,} tracks the artist is unknown." if unknown else "")


def _measured(sample: Sample) -> str:
    return (
        f"{len(sample.tracks):,} tracks, decoded at {RATE / 1000:g} kHz to the mean of their "
        f"channels; of each, at most the middle {MOST_SECONDS} s (the duration is of the whole)."
    )


def _measures(tracks: pd.DataFrame) -> Iterator[dict[str, str]]:
    for name, about in MEASURES.items():
        value = tracks[name].dropna()
        summary = "It could not be measured."
        if len(value):
            low, median, high = (f"{q:,.4g}" for q in np.percentile(value, [10, 50, 90]))
            summary = f"Median {median} {about.unit}; the middle 80 % {low} to {high}."
            if not varies(value):
                summary = f"Of each track it is {median} {about.unit}."
        if missing := len(tracks) - len(value):
            summary += f" Not of {missing:,} tracks, which are too short, or silent."
        definition = about.definition[0].upper() + about.definition[1:]
        yield {"name": name, "summary": summary, **about._asdict(), "definition": definition}


def _keys(tracks: pd.DataFrame) -> str:
    clear = tracks["key"][tracks["key"] != tonality.UNCLEAR]
    return (
        f"{len(clear):,} of {len(tracks):,} tracks have a clear key: the mean of their pitch "
        f"classes correlates by {tonality.CLEAR:g} or more with a profile of Krumhansl (1990). "
        "Estimates take a key for its relative or its fifth at times; drums alone have none."
    )


def _who(look: Look, row: int) -> list[str]:
    return [look.sample.tracks["track"][row], look.sample.tracks["label"][row].replace("|", ", ")]


def _player(look: Look, row: int) -> dict[str, Any]:
    return {"row": row, "track": _who(look, row)[0], "audio": look.players.get(row)}


def _examples(look: Look) -> Iterator[dict[str, Any]]:
    from zoo.models import about

    for name, row in look.examples.items():
        pictures = [
            {"frontend": frontend, "about": about("frontend", frontend), "uri": uri}
            for frontend, uri in look.pictures.get(row, {}).items()
        ]
        yield {"class": name, "pictures": pictures, **_player(look, row)}


def _mapped(look: Look) -> str:
    what = f"embeddings of {look.model} (middle 30 s)" if look.model else SOUND
    which = "" if len(look.drawn) == len(look.sample.tracks) else ", drawn at random"
    several = ", coloured by the first of their labels" if look.manifest.multilabel else ""
    return f"{len(look.drawn):,} tracks{which}{several}: t-SNE of {what}."


def _doubts(look: Look) -> str:
    if look.doubts is None:
        return "For this there are too few tracks or classes."
    what = f"the embeddings of {look.model}" if look.model else f"the sound ({SOUND})"
    kept = "whose artists it has not" if look.doubts.keeps_units else "that it has not"
    said = f"By a logistic regression on {what}, of tracks {kept} been fitted to. "
    if look.doubts.accuracy is not None:
        chance = 1 / max(1, look.doubts.table["given"].nunique())
        said += (
            f"It finds the class of {_percent(look.doubts.accuracy)} of the tracks (mean over "
            f"classes; by chance {_percent(chance)}): the lower, the less this list means. "
        )
    return said + (
        "These are hints where to listen first, not errors: genres overlap."
        if len(look.suspects)
        else "No label looks wrong to it."
    )


def _audited(look: Look) -> str:
    if (look.manifest.frame["split"] == "").any():
        return "Tracks have no split, so nothing can be in two of them."
    split = f"Split {look.manifest.split_name}"
    audio = "all tracks" if look.sample.is_all else "the measured tracks only"
    found = "" if look.findings else " Nothing was found."
    return f"{split}; names are compared over all tracks, audio over {audio}.{found}"


def _finding(finding: Finding, names: dict[str, str]) -> dict[str, Any]:
    tested = f" ({len(finding.affected):,} test tracks)" if finding.affected else ""
    return {
        "kind": finding.kind,
        "is_note": finding.is_note,
        "sentence": finding.sentence[0].upper() + finding.sentence[1:] + tested,
        "cases": [_case(case, names) for case in finding.cases[:MOST_CASES]],
        "more": max(0, len(finding.cases) - MOST_CASES),
    }


def _case(case: Case, names: dict[str, str]) -> str:
    """Return the case's name, and for each split of its tracks the first and their number."""
    said: dict[str, list[str]] = {}
    for path, words in case.paths.items():
        said.setdefault(words, []).append(names[path])
    listed = [
        f"{words} {tracks[0]}{f' and {len(tracks) - 1:,} more' if tracks[1:] else ''}"
        for words, tracks in said.items()
    ]
    return ": ".join(filter(None, [case.name, "; ".join(listed)]))


def _failed(sample: Sample) -> dict[str, Any]:
    failed = sample.failed
    first = f"; the first {MOST_FAILED} of them" if len(failed) > MOST_FAILED else ""
    tried = len(failed) + len(sample.tracks)
    return {
        "sentence": f"{len(failed):,} of {tried:,} files could not be used{first}:",
        "rows": failed.head(MOST_FAILED).to_numpy().tolist(),
    }


def _percent(share: float) -> str:
    if np.isnan(share):
        return ""
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "below 1 %"
