"""`index.html`: one page that opens from disk, with its data, styles, script and charts inside."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from benchmarks import report
from leaderboard import charts, panels
from leaderboard.board import Board, Section
from leaderboard.details import details, hardware_of, most_confused
from leaderboard.literature import Published, read_literature
from zoo import pages
from zoo.statistics import LEVEL, MIN_SEEDS

TEMPLATES = Path(__file__).with_name("templates")
MOST_ROWS = 200  # of a table, shown at first: more take a browser seconds to lay out
COSTS = {  # what the metric can be drawn against
    "million_hours": "hours for a million tracks of 30 s",
    "parameters": "parameters",
    "macs": "GMACs per 10 s of audio",
    "latency_ms": "milliseconds a clip",
    "train_minutes": "minutes of training",
}
ROW = (  # of a protocol's table, for the page's script
    *("name", "model", "frontend", "kind", "pretrained", "licence", "num_seeds", "mean", "low"),
    *("high", "interval_of", "tied_with_best", "verified", *COSTS),
)


def render(board: Board) -> str:
    """Return the page."""
    environment = pages.environment(TEMPLATES)
    filters = {"number": number, "span": report.span, "emphasis": emphasis, "fraction": fraction}
    environment.filters |= filters
    literature = read_literature()
    sections = [section_of(section, literature) for section in board.sections]
    titles = [one["title"] for one in sections]
    for one in sections:
        if titles.count(one["title"]) > 1:
            one["title"] += f", protocol {one['id']}"
    return environment.get_template("page.html").render(
        sections=sections,
        refused=len(board.refused),
        efficiency=(efficiency := panels.efficiency(board.sections)),
        literature=by_data_set(literature),
        costs=COSTS,
        level=f"{LEVEL:.0%}",
        min_seeds=MIN_SEEDS,
        data={
            "sections": {one["id"]: one.pop("data") for one in sections},
            "efficiency": efficiency,
            "costs": COSTS,
            "charts": charts.specifications(),
            "mostRows": MOST_ROWS,
            "level": LEVEL,
            "minSeeds": MIN_SEEDS,
        },
        style=pages.part(TEMPLATES / "page.css"),
        script=pages.part(TEMPLATES / "page.js"),
        library=pages.chart_library(),
    )


def section_of(section: Section, literature: Sequence[Published]) -> dict[str, Any]:
    """Return what the template shows of a protocol, and `data` for the page's script."""
    protocol, entries, metric = section.protocol, section.entries, section.shown.entries[0].metric
    found, rows = panels.measured(section), rounded(section.rows)
    best = entries[section.ranked.tied[0] if section.ranked and section.ranked.tied else 0]
    return {
        "id": entries[0].seeds[0].group,
        "title": title_of(section),
        "is_real": section.is_real,
        "facts": report.facts(section.shown),
        "metric": metric.replace("_", " "),
        "recommendation": section.recommendation,
        "confused": "" if protocol.multilabel else most_confused(best),
        "hardware": hardware_of([run for entry in entries for run in entry.runs]),
        "priced_on": ", ".join(sorted(set(section.rows["device"]) - {""})),
        "rows": rows.to_dict("records"),
        "scale": scale(rows),
        "published": [f for f in literature if (f.dataset, f.metric) == (protocol.dataset, metric)],
        "tables": {name: _cells(table) for name, table in panels.tables(section, found).items()},
        "details": [details(entry) for entry in entries],
        "data": _data(section, rows, metric, found),
    }


def title_of(section: Section) -> str:
    """Return what was measured on what."""
    protocol, tracks = section.protocol, section.shown.entries[0].seeds[0].num_tracks
    return f"{protocol.dataset}, split {protocol.split}, {tracks} test tracks"


def _data(
    section: Section, rows: pd.DataFrame, metric: str, found: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    drawn = {"robustness": panels.robustness, "length": panels.length}
    return {
        "metric": metric.replace("_", " "),
        "classes": section.protocol.classes,
        "rows": [{key: plain(row[key]) for key in ROW} for row in rows.to_dict("records")],
        "tracks": panels.tracks(section),
        "pairs": panels.pairs(section),
        "listening": panels.listening(found["listening"]) if "listening" in found else [],
        **{k: draw(found[k], metric) if k in found else [] for k, draw in drawn.items()},
    }


def by_data_set(figures: Sequence[Published]) -> dict[str, list[Published]]:
    """Return the figures of each data set."""
    sets: dict[str, list[Published]] = {}
    for figure in figures:
        sets.setdefault(figure.dataset, []).append(figure)
    return sets


def scale(rows: pd.DataFrame) -> tuple[float, float]:
    """Return what the bars of intervals begin and end with; of a metric, from 0 to 1 at most."""
    low, high = rows["low"].clip(0, 1).min(), rows["high"].clip(0, 1).max()
    return math.floor(10 * low) / 10, math.ceil(10 * high) / 10


def fraction(value: float, ends: tuple[float, float]) -> float:
    """Return how far a value is between two ends, 0 to 1."""
    low, high = ends
    return round(min(max((value - low) / (high - low), 0.0), 1.0), 4)


def _cells(table: pd.DataFrame) -> dict[str, Any]:
    rows = [
        [name, *map(number, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return {"columns": ["model", *table.columns], "rows": rows}


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as it is read, and nothing for none."""
    if value is None or pd.isna(value):
        return ""
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.{digits}g}"


def emphasis(text: str) -> Markup:
    """Return a sentence whose **words** are emphasised, everything in it escaped."""
    parts = text.split("**")
    marked = [
        Markup("<strong>{}</strong>").format(p) if i % 2 else Markup.escape(p)
        for i, p in enumerate(parts)
    ]
    return Markup("").join(marked)


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with six digits, which is what two machines agree on; counts as they are."""
    return table.map(lambda v: float(f"{v:.6g}") if isinstance(v, float) and v % 1 else v)


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: None for what was not measured."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
