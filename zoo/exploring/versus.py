"""The comparison with a run, in words and charts."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from zoo.exploring import charts
from zoo.exploring.against import Against
from zoo.exploring.figures import varies
from zoo.exploring.look import Look
from zoo.exploring.measures import MEASURES

MOST_NAMED = 12  # classes
HERE, THERE = "this library", "what it learned from"


def versus(look: Look) -> tuple[dict[str, Any], dict[str, charts.Spec]]:
    """Return what the template shows of the comparison, and its charts by name."""
    against = look.against
    assert against is not None
    drawn = {}
    if against.trained is not None:
        for name, about in MEASURES.items():
            there, here = against.trained.tracks[name], look.sample.tracks[name]
            if varies(pd.concat([there, here])):
                values = {THERE: there.to_numpy(), HERE: here.to_numpy()}
                title = f"{about.title.lower()}, {about.unit}"
                drawn[f"against-{name}"] = charts.histogram(values, title)
    shown = {
        "run": against.run,
        "sentences": list(_sentences(against, look)),
        "shifts": list(_shifts(against)),
        "charts": list(drawn),
    }
    if against.sure is not None:
        title = "probability of the most probable class"
        drawn["sure"] = charts.histogram(against.sure, title)
    return shown, drawn


def _sentences(against: Against, look: Look) -> Iterator[str]:
    yield from against.notes
    if against.unknown:
        yield f"Classes here that the model does not know: {_list(against.unknown)}."
    if against.absent:
        yield f"Classes that it knows and that are not here: {_list(against.absent)}."
    if not against.unknown and not against.absent:
        yield "The classes are those that the model knows."
    if against.trained is not None:
        number, of = len(against.trained.tracks), against.trained.num_listed
        yield (
            f"Measured alike: {number:,} of {of:,} tracks that it was trained on, and "
            f"{len(look.sample.tracks):,} of this library."
        )
        if same := int(look.sample.tracks["hash"].isin(against.trained.tracks["hash"]).sum()):
            yield f"Of these, {same:,} are the same recordings, sample by sample."
    if against.auc is not None:
        yield (
            "A classifier on sound and measures (not on durations), cross-validated, tells the two "
            f"apart with an area under the curve of {against.auc:.2f}: 0.5 is alike, 1 is "
            "different."
        )
    if against.sure is not None:
        means = ", ".join(
            f"{value.mean():.2f} on {name} ({len(value):,})" for name, value in against.sure.items()
        )
        yield (
            f"The mean probability of its most probable class is {means}. That is not how often it "
            "is right: a model can be sure of music unlike any that it learned from."
        )


def _list(names: list[str]) -> str:
    more = f", and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _shifts(against: Against) -> Iterator[list[str]]:
    if against.shifts is None:
        return
    for name, *means, apart in against.shifts.itertuples(index=False, name=None):
        about = MEASURES[name]
        yield [about.title, *(f"{mean:,.4g} {about.unit}" for mean in means), f"{apart:+.2f}"]
