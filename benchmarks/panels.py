"""What further measures say of each model, in a few columns; all of it goes into tables beside."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.measure import ALONE, COMPUTED, applies, file_of
from benchmarks.standings import Entry
from zoo.markdown import cell
from zoo.pooling import Run
from zoo.results import SCORES


class Column(NamedTuple):
    """A column of a panel: the mean over seeds of the row of a summary that these words find."""

    title: str
    figure: str
    what: str = "*"
    network: str = "*"


PANELS: Mapping[str, tuple[Column, ...]] = {
    "calibration": (
        Column("Brier", "brier", "before"),
        Column("log loss", "log_loss", "before"),
        Column("calibration error", "ece", "before"),
        Column("the same, if honest", "ece_if_honest", "before"),
        Column("temperature", "temperature"),
        Column("Brier after it", "brier", "after"),
        Column("log loss after it", "log_loss", "after"),
    ),
    "robustness": (
        Column("mean drop", "mean_*_drop", "degradation"),
        Column("MP3, 32 kbit/s", "*_drop", "mp3-32kbps"),
        Column("8 kHz", "*_drop", "resampled-8khz"),
        Column("white noise, 10 dB", "*_drop", "white-noise-10db"),
        Column("clipping", "*_drop", "clipped-*"),
        Column("reverberation, 2 s", "*_drop", "reverb-2.0s"),
        Column("(pitch up 2)", "*_drop", "pitch-up-2"),
        Column("(tempo 1.25)", "*_drop", "tempo-1.25"),
    ),
    "retrieval": (
        Column("mean average precision", "average_precision", "same genre", "trained"),
        Column("random weights", "average_precision", "same genre", "random"),
        Column("chance", "average_precision", "same genre", "chance"),
        Column("precision at 10", "precision_at_10", "same genre", "trained"),
        Column("same artist", "average_precision", "same artist", "trained"),
        Column("chance of that", "average_precision", "same artist", "chance"),
        Column("hubness", "hubness", "same genre", "trained"),
    ),
    "held_out": (
        Column("mean average precision", "average_precision", "held-out genres", "trained"),
        Column("random weights", "average_precision", "held-out genres", "random"),
        Column("chance", "average_precision", "held-out genres", "chance"),
    ),
    "length": (
        Column("1 s", "accuracy", "1 s"),
        Column("3 s", "accuracy", "3 s"),
        Column("all", "accuracy", "all"),
        Column("seconds that are enough", "enough_seconds"),
    ),
    "listening": (
        Column("follows swing", "followed", "swing"),
        Column("metre", "followed", "metre"),
        Column("syncopation", "followed", "syncopation"),
        Column("lured by kit", "lured", "*kit*"),
        Column("moved by key", "changed", "key"),
        Column("tempo", "changed", "tempo"),
        Column("mix", "changed", "mix"),
    ),
}


def summaries(name: str, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the whole summary of each run that was measured, with the row's name and the seed."""
    module = importlib.import_module(f"benchmarks.summaries.{name}")
    parts = [
        module.summarize(run.folder, run.result).assign(model=entry.name, seed=run.result.seed)
        for entry in entries
        for run in _measured(name, entry)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _measured(name: str, entry: Entry) -> Iterator[Run]:
    for run in entry.runs:
        scores = run.folder / SCORES["validation"]
        file = scores if name in COMPUTED else file_of(run.folder, name)
        if file.exists() and applies(name, run.result.config):
            yield run


def panel(name: str, table: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return a row for each model: how many seeds were measured, and the columns of the panel that
    the summary has."""
    columns: dict[str, Any] = {"seeds": table.groupby("model")["seed"].nunique()}
    for column in PANELS[name]:
        found = table[table.apply(_is_of, axis=1, column=column)]
        if len(found):
            columns[column.title] = found.groupby("model")["value"].mean()
    order = [entry.name for entry in entries if entry.name in set(table["model"])]
    return pd.DataFrame(columns).reindex(order)


def _is_of(row: pd.Series, column: Column) -> bool:
    names = ("figure", "what", "network")
    return all(fnmatch(str(row.get(name, "")).lower(), getattr(column, name)) for name in names)


def sections(measures: Sequence[str], entries: Sequence[Entry], out: Path) -> Iterator[str]:
    """Yield the Markdown of each measure's panel; write its whole summary and picture beside `out`,
    by the protocol's name."""
    for name in measures:
        table = pd.DataFrame() if name == ALONE else summaries(name, entries)
        if table.empty:
            continue
        file = out.with_name(f"{out.name}-{entries[0].seeds[0].group}-{name}.csv")
        table.to_csv(file, index=False)
        shown = panel(name, table, entries).map(_written).rename(index=cell)
        align = ["left", *["right"] * len(shown.columns)]
        parts = [f"### {name.replace('_', ' ').capitalize()}"]
        parts += [shown.to_markdown(disable_numparse=True, colalign=align)]
        if name in PICTURES:
            picture = file.with_suffix(".png")
            PICTURES[name](picture, _first_seeds(table, entries))
            parts.append(f"![{name}]({picture.name})")
        yield "\n\n".join(parts)


def _written(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:d}" if isinstance(value, int) else f"{value:.3f}"


def _first_seeds(table: pd.DataFrame, entries: Sequence[Entry]) -> dict[str, pd.DataFrame]:
    """Return the summary of each model's first seed, best model first."""
    models = {entry.name: table[table["model"] == entry.name] for entry in entries}
    return {name: t[t["seed"] == t["seed"].min()] for name, t in models.items() if len(t)}


def _calibration(file: Path, summaries: Mapping[str, pd.DataFrame]) -> None:
    from benchmarks import calibration

    name, summary = next(iter(summaries.items()))
    calibration.draw(file, summary, name)


def _listening(file: Path, summaries: Mapping[str, pd.DataFrame]) -> None:
    from benchmarks.summaries import listening

    listening.draw(file, summaries)


PICTURES: Mapping[str, Callable[[Path, Mapping[str, pd.DataFrame]], None]] = {
    "calibration": _calibration,
    "listening": _listening,
}
"""What draws a measure: of the best model, or of all."""
