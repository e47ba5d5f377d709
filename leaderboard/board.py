"""A leaderboard as it is shown: for each protocol who stands where, and what each row is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import report
from benchmarks.standings import Entry, Standings, entries_of, standings
from leaderboard.kept import Refused, read_kept
from leaderboard.names import is_pretrained, names_of
from leaderboard.protocols import RESULTS
from leaderboard.table import audited, device_of
from zoo.errors import InputError
from zoo.pooling import pool_runs
from zoo.registry import choices, read_choice
from zoo.results import Protocol

CLAIMS = ("rank_low", "rank_high")  # columns that only ranked rows have


@dataclass(frozen=True)
class Section:
    """One protocol: its ranked entries, those whose weights were not verified, and the rows of
    both, the ranked first."""

    ranked: Standings | None
    others: Standings | None
    rows: pd.DataFrame

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order of the rows."""
        return tuple(e for one in (self.ranked, self.others) if one for e in one.entries)

    @property
    def shown(self) -> Standings:
        """What headings and recommendations are of."""
        shown = self.ranked or self.others
        assert shown is not None
        return shown

    @property
    def protocol(self) -> Protocol:
        """What was measured on what."""
        return self.entries[0].runs[0].result.protocol

    @property
    def is_real(self) -> bool:
        """Tell whether it says anything about real music."""
        return not report.is_sanity_check(self.protocol)

    @property
    def recommendation(self) -> str:
        """Which row to take, how sure that is, and what it costs."""
        if self.ranked is None:
            return "**None is recommended**: no row was verified yet."
        return report.recommendation(self.ranked)


@dataclass(frozen=True)
class Board:
    """All protocols, real music first, and what was refused."""

    sections: tuple[Section, ...]
    refused: tuple[Refused, ...]

    @property
    def table(self) -> pd.DataFrame:
        """The rows of all protocols."""
        return pd.concat([section.rows for section in self.sections], ignore_index=True)


def read_board(results: Path = RESULTS) -> Board:
    """Read the results in a folder. Raises `InputError` where none is valid."""
    kept = read_kept(results)
    refused, said = [*kept.refused], list[str]()
    ranked, others = (
        pool_runs([run for run in kept.runs if (run.folder in kept.ranked) is wanted], said.append)
        for wanted in (True, False)
    )
    recipes = {(one.group, one.runs[0].result.recipe) for one in ranked}
    others = [one for one in others if (one.group, one.runs[0].result.recipe) not in recipes]
    names = names_of([*ranked, *others])
    sections = []
    for group in dict.fromkeys(one.group for one in (*ranked, *others)):
        parts = [[one for one in pooled if one.group == group] for pooled in (ranked, others)]
        try:
            sections.append(_section(*(entries_of(part, names) for part in parts)))
        except ValueError as error:  # of tracks of a single unit, with several labels
            protocol = [*parts[0], *parts[1]][0].runs[0].result.protocol
            reason = f"{protocol.dataset}, split {protocol.split}: {error}"
            refused.append(Refused(results, reason))
    refused += [Refused(results, line) for line in said]
    if not sections:
        reasons = "".join(f" {folder}: {reason}" for folder, reason in refused[:1])
        raise InputError(f"{results} holds no valid result; a leaderboard needs one.{reasons}")
    sections.sort(key=lambda s: (not s.is_real, s.protocol.dataset, s.protocol.split))
    return Board(tuple(sections), tuple(refused))


def _section(ranked: list[list[Entry]], others: list[list[Entry]]) -> Section:
    """Return the section of a protocol, whose entries are the first of each list, if any."""
    first, second = (standings(part[0]) if part else None for part in (ranked, others))
    tables = []
    if first:
        tables.append(_rows(first).assign(verified=True))
    if second:
        rows = _rows(second)
        rows[[*CLAIMS]], rows["tied_with_best"] = np.nan, False
        tables.append(rows.assign(verified=False))
    return Section(first, second, pd.concat(tables, ignore_index=True))


def _rows(one: Standings) -> pd.DataFrame:
    """Return `report.table` with what each row is."""
    facts = pd.DataFrame([_facts(entry) for entry in one.entries])
    return pd.concat([report.table(one).rename(columns={"model": "name"}), facts], axis=1)


def _facts(entry: Entry) -> dict[str, Any]:
    results = [run.result for run in entry.runs]
    first, pretrained = results[0], is_pretrained(results[0])
    found = audited([result.audit for result in results])
    return {
        "recipe": first.recipe,
        "model": first.model,
        "frontend": first.frontend,
        "kind": kind_of(first.model),
        "pretrained": pretrained,
        "licence": first.licence or ("not stated" if pretrained else ""),
        "num_tracks": entry.seeds[0].num_tracks,
        "num_units": len(np.unique(entry.units)),
        "clip_seconds": first.clip_seconds,
        "trained_on": ", ".join(sorted({device_of(r.hardware) for r in results})),
        "warning": found["audit"],
        "affected": found["affected"],
    }


def kind_of(model: str) -> str:
    """Return what family a model is of, as its configuration says."""
    return (
        read_choice("model", model).get("kind", "other") if model in choices("model") else "other"
    )
