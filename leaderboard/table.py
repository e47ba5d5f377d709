"""The leaderboard: one flat table, a row for each protocol and recipe, and its Markdown."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.errors import InputError
from zoo.markdown import cell
from zoo.pooling import Pooled
from zoo.results import Audited, Hardware, flat, recipe_config

SECONDARY = {False: ("macro_f1", "log_loss"), True: ("macro_roc_auc",)}  # by multi-label
TOLD_APART = "told apart: "  # and what the two classes differ in
MARK = " †"  # of models whose audit found something

SHOWN = {  # column of the table: how Markdown writes it
    "model": "{}",
    "frontend": "{}",
    "recipe": "{}",
    "num_seeds": "{}",
    "mean": "{:.4f}",
    "deviation": "{:.4f}",
    "macro_f1": "{:.4f}",
    "log_loss": "{:.4f}",
    "macro_roc_auc": "{:.4f}",
    "parameters": "{:,}",
    "clips_per_second": "{:.1f}",
    "clip_seconds": "{:g}",
    "device": "{}",
    "wall_seconds": "{:.0f}",
}
ONLY_WHERE_THEY_DIFFER = ("clip_seconds", "device")
TEXT = ("model", "frontend", "recipe", "device")
TITLES = {"frontend": "front end", "num_seeds": "seeds"}

FOOTNOTE = """\
Scores are means over seeds; deviation is their standard deviation over seeds (n - 1; blank for
one seed), and differences smaller than it are noise. Clips per second (in training) and wall
seconds are medians over runs. Runs on other data, splits, folds or evaluations stand in a table
of their own."""


def make_table(pooled: Iterable[Pooled]) -> pd.DataFrame:
    """Return a row for each group and recipe: protocol, scores, costs; within groups best first.

    `protocol` is `Pooled.group`; `differs` says what sets recipes of the same model and front end
    apart; mean and deviation (ddof 1, NaN for one seed) are of the primary metric over seeds.
    """
    recipes: dict[tuple[str, str], list[Pooled]] = {}
    for one in pooled:
        recipes.setdefault((one.group, one.runs[0].result.recipe), []).append(one)
    table = pd.DataFrame([_row(seeds) for seeds in recipes.values()])
    configs = [seeds[0].runs[0].result.config for seeds in recipes.values()]
    for rows in table.groupby(["protocol", "model", "frontend"]).groups.values():
        table.loc[rows, "differs"] = differences([configs[row] for row in rows])
    order = ["dataset", "split", "folds", "protocol", "mean", "model", "frontend", "recipe"]
    return table.sort_values(order, ascending=[c != "mean" for c in order], ignore_index=True)


def _row(seeds: Sequence[Pooled]) -> dict[str, Any]:
    """Return the row of one recipe."""
    results = [run.result for one in seeds for run in one.runs]
    first, protocol = results[0], results[0].protocol
    folds = [run.result.protocol.fold for run in seeds[0].runs]
    scores = pd.DataFrame([one.metrics for one in seeds])
    shown = scores.reindex(columns=[first.primary, *SECONDARY[protocol.multilabel]]).mean()
    return {
        "protocol": seeds[0].group,
        "dataset": protocol.dataset,
        "split": protocol.split,
        "folds": ", ".join(str(fold) for fold in folds if fold is not None),
        "evaluation": protocol.evaluation,
        "num_tracks": seeds[0].num_tracks,
        "num_classes": len(protocol.classes),
        "classes": "|".join(protocol.classes),
        "multilabel": protocol.multilabel,
        "metric": first.primary,
        "chance": np.nan if protocol.multilabel else 1 / len(protocol.classes),
        "model": first.model,
        "frontend": first.frontend,
        "recipe": first.recipe,
        "differs": "",
        "num_seeds": len(seeds),
        "mean": shown[first.primary],
        "deviation": scores[first.primary].std(),
        **{name: shown.get(name, np.nan) for name in SECONDARY[False] + SECONDARY[True]},
        "parameters": first.costs.parameters,
        "clip_seconds": first.clip_seconds,
        "clips_per_second": np.median([r.costs.clips_per_second for r in results]),
        "device": ", ".join(sorted({device_of(r.hardware) for r in results})),
        "wall_seconds": np.median([r.costs.wall_seconds for r in results]),
        **audited([result.audit for result in results]),
        **pd.DataFrame([one.contrasts for one in seeds]).mean().add_prefix(TOLD_APART),
    }


def audited(runs: Sequence[Audited | None]) -> dict[str, Any]:
    """Return the share of test tracks that the runs' audits warn of (NaN: there was none), and the
    kinds of what they found."""
    audits = [audit for audit in runs if audit is not None]
    num_test = sum(audit.test_tracks for audit in audits)
    kinds = dict.fromkeys(warned.kind for audit in audits for warned in audit.warnings)
    affected = sum(audit.affected for audit in audits) / num_test if num_test else np.nan
    return {"affected": affected, "audit": ", ".join(kinds)}


def device_of(hardware: Hardware) -> str:
    """Return the processor, or the GPU."""
    return hardware.processor if hardware.device == "cpu" else hardware.device


def differences(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each configuration the values of the keys in which not all are the same."""
    configs = [
        {k: v if isinstance(v, str) else json.dumps(v) for k, v in flat(recipe_config(r)).items()}
        for r in recipes
    ]
    keys = sorted({key for config in configs for key in config})
    differ = [key for key in keys if len({config.get(key) for config in configs}) > 1]
    return [" ".join(f"{key}={c[key]}" for key in differ if key in c) for c in configs]


def to_markdown(table: pd.DataFrame) -> str:
    """Return a section for each protocol, in the table's order, and a footnote."""
    sections = [_section(rows) for _, rows in table.groupby("protocol", sort=False)]
    return "\n\n".join([*sections, FOOTNOTE])


def _section(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    twice = rows.duplicated(["model", "frontend"], keep=False)
    recipe = (rows["recipe"].str[:8] + " " + rows["differs"]).where(twice, None)
    warned = rows[rows["audit"] != ""]
    rows = rows.assign(recipe=recipe).dropna(axis=1, how="all")
    rows["model"] = rows["model"] + np.where(rows.index.isin(warned.index), MARK, "")
    same = [c for c in ONLY_WHERE_THEY_DIFFER if rows[c].nunique() == 1]
    columns = [c for c in SHOWN if c == "deviation" or (c in rows and c not in same)]
    parts = [_heading(first), _markdown(rows.reindex(columns=columns), first["metric"])]
    contrasts = [c for c in map(str, rows) if c.startswith(TOLD_APART)]
    if contrasts:
        who = [c for c in columns if c in ("model", "frontend", "recipe")]
        told_apart = _markdown(rows[who + contrasts], first["metric"])
        parts += ["Told apart, of two classes that differ in (0.5 is chance):", told_apart]
    if len(warned):
        parts.append(_warnings(warned))
    return "\n\n".join(parts)


def _warnings(rows: pd.DataFrame) -> str:
    """Return the footnote of the models that are marked."""
    found = dict.fromkeys(
        f"{cell(row['audit'])} ({row['affected']:.1%} of the test tracks)"
        for _, row in rows.iterrows()
    )
    return f"{MARK.strip()} The audit of the split warns of: {'; or '.join(found)}."


def _heading(row: pd.Series) -> str:
    folds = f", fold{'s' * (',' in row['folds'])} {row['folds']}" if row["folds"] else ""
    chance = "" if row["multilabel"] else f" (chance {row['chance']:.4f})"
    lines = [
        f"## {cell(row['dataset'])}, split {cell(row['split'])}{folds}",
        f"{row['num_tracks']} test tracks, {row['num_classes']} classes, "
        f"evaluation {cell(row['evaluation'])}, ranked by {_title(row['metric'])}{chance}; "
        f"protocol {row['protocol']}",
    ]
    if row["dataset"].startswith("synth"):
        lines.append("*sanity check: says nothing about real music*")
    return "\n\n".join(lines)


def _markdown(rows: pd.DataFrame, metric: str) -> str:
    columns = [str(column) for column in rows]
    text = pd.DataFrame({c: rows[c].map(_cell_of(SHOWN.get(c, "{:.3f}"))) for c in columns})
    text.columns = pd.Index([_title(metric if c == "mean" else c) for c in columns])
    align = ["left" if c in TEXT else "right" for c in columns]
    return text.to_markdown(index=False, disable_numparse=True, colalign=align)


def _cell_of(form: str) -> Callable[[Any], str]:
    return lambda value: "" if pd.isna(value) else cell(form.format(value))


def _title(column: str) -> str:
    return cell(TITLES.get(column, column.removeprefix(TOLD_APART).replace("_", " ")))


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write leaderboard.md, .csv and .parquet. Raises `InputError` where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "leaderboard.md").write_text(to_markdown(table) + "\n", "utf-8")
        table.to_csv(folder / "leaderboard.csv", index=False)
        table.to_parquet(folder / "leaderboard.parquet", index=False)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written to ({error.strerror or error}); give --out a folder."
        ) from error
