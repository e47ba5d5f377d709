"""The end of a suite: a table for each protocol, and in words which model to take."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.panels import sections
from benchmarks.power import power
from benchmarks.price import TITLES, cheapest, price_of
from benchmarks.standings import Standings, entries_of, standings
from benchmarks.suite import Suite
from zoo.markdown import cell
from zoo.pooling import Pooled
from zoo.results import Protocol
from zoo.statistics import LEVEL, MIN_SEEDS

NOTE = f"""\
Scores are means over seeds. Intervals of {LEVEL:.0%} are for the architecture: over other tracks by
other artists, and over other seeds. A model of fewer than {MIN_SEEDS} seeds has none and no rank:
what stands in brackets is the interval of its first checkpoint, over tracks alone. Ranks are
intervals: two models share them where their difference is not shown (t over units and seeds, Holm
over all pairs)."""


def write(pooled: Sequence[Pooled], names: Mapping[Path, str], suite: Suite, out: Path) -> str:
    """Write the tables as `out`.md and `out`.csv, the measures' beside, and return the Markdown."""
    found = [standings(entries) for entries in entries_of(pooled, names)]
    tables = [table(one) for one in found]
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = [f"# {suite.about}"]
    for one, rows in zip(found, tables, strict=True):
        parts += [heading(one), markdown(rows), recommendation(one)]
        parts += sections(suite.measures, one.entries, out)
    if len(tables) > 1:
        parts.append(side_by_side(pd.concat(tables)))
    text = "\n\n".join([*parts, NOTE]) + "\n"
    out.with_suffix(".md").write_text(text, "utf-8")
    pd.concat(tables, ignore_index=True).to_csv(out.with_suffix(".csv"), index=False)
    return text


def table(one: Standings) -> pd.DataFrame:
    """Return a row for each entry: scores, interval, rank, ties, and what it costs."""
    rows = []
    for i, entry in enumerate(one.entries):
        interval, rank = one.intervals[i], one.ranks[i]
        shown = interval or one.checkpoints[i][0]
        protocol = entry.runs[0].result.protocol
        rows.append(
            {
                "protocol": entry.seeds[0].group,
                "dataset": protocol.dataset,
                "split": protocol.split,
                "metric": entry.metric,
                "model": entry.name,
                "num_seeds": len(entry.seeds),
                "mean": entry.mean,
                "deviation": entry.scores.std(ddof=1) if len(entry.seeds) > 1 else np.nan,
                "low": shown.low,
                "high": shown.high,
                "interval_of": "architecture" if interval else "checkpoint",
                "method": shown.method,
                "rank_low": rank[0] if rank else np.nan,
                "rank_high": rank[1] if rank else np.nan,
                "tied_with_best": i in one.tied,
                **vars(price_of(entry.runs)),
            }
        )
    return pd.DataFrame(rows)


def side_by_side(rows: pd.DataFrame) -> str:
    """Return the means of each model on all protocols, which are not ranked together."""
    place = rows["dataset"] + ", " + rows["split"]
    means = rows.assign(place=place).pivot_table(index="model", columns="place", values="mean")
    means = means.reindex(columns=place.unique()).map(written("{:.3f}")).rename(index=cell)
    align = ["left", *["right"] * len(means.columns)]
    return f"## Side by side\n\n{means.to_markdown(disable_numparse=True, colalign=align)}"


def heading(one: Standings) -> str:
    """Return what a table is of."""
    entry = one.entries[0]
    protocol = entry.runs[0].result.protocol
    folds = sorted({str(run.result.protocol.fold) for run in entry.runs} - {"None"})
    of_folds = f", folds {', '.join(folds)}" if folds else ""
    lines = [f"## {cell(protocol.dataset)}, split {cell(protocol.split)}{of_folds}", facts(one)]
    if is_sanity_check(protocol):
        lines.append("*Sanity check: says nothing about real music.*")
    return "\n\n".join(lines)


def is_sanity_check(protocol: Protocol) -> bool:
    """Tell whether the data set was composed by the project, and says nothing about real music."""
    return protocol.dataset.startswith("synth")


def facts(one: Standings) -> str:
    """Return what was tested, and what ranks."""
    entry = one.entries[0]
    protocol, num_units = entry.runs[0].result.protocol, len(np.unique(entry.units))
    chance = "" if protocol.multilabel else f" (chance {1 / len(protocol.classes):.3f})"
    return (
        f"{entry.seeds[0].num_tracks} test tracks, {num_units} independent units, "
        f"{len(protocol.classes)} classes, by {entry.metric.replace('_', ' ')}{chance}."
    )


def markdown(rows: pd.DataFrame) -> str:
    """Return `table` as it is read."""
    bounds = [
        f"{low:.3f} to {high:.3f}" for low, high in zip(rows["low"], rows["high"], strict=True)
    ]
    is_claim = rows["interval_of"] == "architecture"
    shown = pd.DataFrame(
        {
            "rank": [span(*r) for r in zip(rows["rank_low"], rows["rank_high"], strict=True)],
            "model": rows["model"].map(cell),
            "tied": rows["tied_with_best"].map({True: "=", False: ""}),
            "seeds": rows["num_seeds"].astype(str),
            rows["metric"].iloc[0].replace("_", " "): rows["mean"].map("{:.3f}".format),
            f"{LEVEL:.0%} interval": np.where(is_claim, bounds, [f"({b})" for b in bounds]),
            "deviation": rows["deviation"].map(written("{:.3f}")),
        }
    )
    for name, (title, form) in TITLES.items():
        if rows[name].notna().any():
            shown[title] = rows[name].map(written(form))
    align = ["left" if column in ("rank", "model") else "right" for column in shown]
    return shown.to_markdown(index=False, disable_numparse=True, colalign=align)


def written(form: str) -> Callable[[float], str]:
    """Return what writes a number so, and nothing for NaN."""
    return lambda value: "" if pd.isna(value) else form.format(value)


def span(low: float, high: float) -> str:
    """Return "2 to 5", or "2" where both are the same; nothing for NaN."""
    if pd.isna(low):
        return ""
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def recommendation(one: Standings) -> str:
    """Return in words which model to take, how sure that is, and what it costs."""
    entries = one.entries
    if not one.tied:
        most = max(len(entry.seeds) for entry in entries)
        return (
            f"**None is recommended**: a claim about an architecture takes {MIN_SEEDS} seeds and "
            f"two independent units, and there are {most} and {len(np.unique(entries[0].units))}. "
            f"The highest mean is that of {entries[0].name}, {entries[0].mean:.3f}."
        )
    best, *others = one.tied
    interval, entry = one.intervals[best], entries[best]
    assert interval is not None
    num_ranked = sum(rank is not None for rank in one.ranks)
    among = "" if num_ranked == len(entries) else f" of the {num_ranked} that rank"
    words = (
        f"Highest {entry.metric.replace('_', ' ')}{among}: {entry.name}, {entry.mean:.3f} "
        f"({LEVEL:.0%} interval {interval.low:.3f} to {interval.high:.3f})."
    )
    if not others:
        worse = f" All others{' that rank' if among else ''} are worse." if num_ranked > 1 else ""
        return f"{words}{worse} **Take {entry.name}**: {price_of(entry.runs)}."
    names = ", ".join(f"{entries[i].name} ({entries[i].mean:.3f})" for i in others)
    chosen = entries[one.tied[cheapest([price_of(entries[i].runs) for i in one.tied])]]
    words = f"{words} Not shown to be worse: {names}. **Take {chosen.name}**, which of these costs "
    words += f"least: {price_of(chosen.runs)}."
    if chosen is entry:
        return words
    needed = power(entry.values, chosen.values, entry.units, one.seed_variance)
    return f"{words} To tell {entry.name} from it: {needed}" if needed else words
