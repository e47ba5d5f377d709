"""The end of a suite: a table for each protocol, and in words which model to take."""

from collections.abc import Mapping, Sequence
from pathlib import Path


import numpy as np
import pandas as pd

from benchmarks.costs import Price, price_of
from benchmarks.standings import ALPHA, Entry, Standings, entries_of, standings
from benchmarks.statistics import MIN_SEEDS
from zoo.results import Pooled

NOTE = f"""\
Scores are means over seeds. Intervals of 95 % are for the architecture: over other tracks by other
artists, and other seeds. A model with fewer than {MIN_SEEDS} seeds has none and is not ranked; what
stands in brackets is the interval of its first checkpoint, over tracks alone. Ranks are intervals:
models whose difference is not shown (t test over units and seeds, after Holm, at {ALPHA:.0%}) share them."""


def write(pooled: Sequence[Pooled], names: Mapping[Path, str], about: str, out: Path) -> str:
    """Write the tables as `out`.md and `out`.csv, and return the Markdown."""
    found = [standings(entries) for entries in entries_of(pooled, names)]
    tables = [table(one) for one in found]
    parts = [f"# {about}"]
    for one, rows in zip(found, tables, strict=True):
        parts += [heading(one), markdown(rows, one), recommendation(one)]
    text = "\n\n".join([*parts, NOTE]) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text(text, "utf-8")
    pd.concat(tables, ignore_index=True).to_csv(out.with_suffix(".csv"), index=False)
    return text


def table(one: Standings) -> pd.DataFrame:
    """Return a row for each entry: scores, interval, rank, ties, and what it costs."""
    rows = []
    for i, entry in enumerate(one.entries):
        interval, rank = one.intervals[i], one.ranks[i]
        checkpoint = one.checkpoints[i][0]
        shown = interval or checkpoint
        scores = [seed.metrics[metric_of(entry)] for seed in entry.seeds]
        first = entry.runs[0].result
        rows.append(
            {
                "protocol": entry.seeds[0].group,
                "dataset": first.protocol.dataset,
                "split": first.protocol.split,
                "model": entry.name,
                "seeds": len(entry.seeds),
                "mean": entry.mean,
                "low": shown.low,
                "high": shown.high,
                "interval": "architecture" if interval else "checkpoint",
                "method": shown.method,
                "deviation": float(np.std(scores, ddof=1)) if len(scores) > 1 else np.nan,
                "rank": "" if rank is None else span(*rank),
                "tied with the best": i in one.tied_with_best and interval is not None,
                **vars(price_of(entry.runs)),
            }
        )
    return pd.DataFrame(rows)


def span(low: float, high: float) -> str:
    """Return "2 to 5", or "2" where both are the same."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def metric_of(entry: Entry) -> str:
    """Return the metric that ranks."""
    return entry.seeds[0].runs[0].result.primary


def heading(one: Standings) -> str:
    """Return what the table is of."""
    entry = one.entries[0]
    protocol, metric = entry.runs[0].result.protocol, metric_of(entry).replace("_", " ")
    folds = sorted({str(r.result.protocol.fold) for r in entry.runs if protocol.fold is not None})
    of_folds = f", folds {', '.join(folds)}" if folds else ""
    chance = "" if protocol.multilabel else f" (chance {1 / len(protocol.classes):.3f})"
    units = len(np.unique(entry.units_B))
    lines = [
        f"## {protocol.dataset}, split {protocol.split}{of_folds}",
        f"{entry.seeds[0].num_tracks} test tracks, {units} independent units, "
        f"{len(protocol.classes)} classes, by {metric}{chance}.",
    ]
    if protocol.dataset.startswith("synth"):
        lines.append("*Sanity check: says nothing about real music.*")
    return "\n\n".join(lines)


def markdown(rows: pd.DataFrame, one: Standings) -> str:
    """Return the table as it is read."""
    metric = metric_of(one.entries[0]).replace("_", " ")
    shown = pd.DataFrame({"rank": rows["rank"], "model": rows["model"], "seeds": rows["seeds"]})
    shown[metric] = rows["mean"].map("{:.3f}".format)
    bounds = rows["low"].map("{:.3f}".format) + " to " + rows["high"].map("{:.3f}".format)
    shown["95 % interval"] = bounds.where(rows["interval"] == "architecture", "(" + bounds + ")")
    shown["deviation"] = rows["deviation"].map(lambda x: "" if pd.isna(x) else f"{x:.3f}")
    shown["tied"] = rows["tied with the best"].map({True: "=", False: ""})
    for name, form in Price.SHOWN.items():
        if rows[name].notna().any():
            shown[Price.TITLES[name]] = rows[name].map(
                lambda x, form=form: "" if pd.isna(x) else form.format(x)
            )
    left = {"model"}
    align = ["left" if c in left else "right" for c in shown]
    shown = shown.map(lambda x: str(x).replace("|", "\\|"))
    return shown.to_markdown(index=False, disable_numparse=True, colalign=align)


def recommendation(one: Standings) -> str:
    """Return in words which model to take, how sure that is, and what it costs."""
    entries, best = one.entries, one.best
    interval = one.intervals[best]
    metric = metric_of(entries[best]).replace("_", " ")
    if interval is None:
        few = max(len(entry.seeds) for entry in entries)
        return (
            f"**No model can be recommended**: a claim about an architecture takes {MIN_SEEDS} "
            f"seeds, and these have {few} at most. {entries[best].name} has the highest {metric}, "
            f"{entries[best].mean:.3f}."
        )
    sure = f"{entries[best].mean:.3f}, 95 % interval {interval.low:.3f} to {interval.high:.3f}"
    tied = [i for i in one.tied_with_best if i != best]
    if not tied:
        price = price_of(entries[best].runs)
        return f"**Take {entries[best].name}**: {metric} {sure}, better than all others; {price}."
    cheapest = min(one.tied_with_best, key=lambda i: price_of(entries[i].runs).order)
    names = ", ".join(f"{entries[i].name} ({entries[i].mean:.3f})" for i in tied)
    words = f"Highest {metric}: {entries[best].name}, {sure}. Not shown to be worse: {names}."
    price = price_of(entries[cheapest].runs)
    return f"{words} **Of these, {entries[cheapest].name} costs least**: {price}."


