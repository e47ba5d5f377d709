"""`python -m leaderboard build`: README.md, leaderboard.csv, .parquet and index.html of results."""

from pathlib import Path

import pandas as pd

from benchmarks import report
from leaderboard.board import Board, Section
from leaderboard.details import hardware_of
from leaderboard.page import render, rounded
from zoo.errors import InputError
from zoo.markdown import cell

HEAD = """\
# Leaderboard

Made by `python -m leaderboard build` from `results/`; do not edit. The page
[index.html](index.html) has the same tables, to sort, filter, open and compare, with charts:
download it and open it from disk."""
LIBRARY = '<script id="library">'  # what follows depends on the version of the charts' library


def build(board: Board, out: Path) -> list[Path]:
    """Write the files of a leaderboard into a folder; return them."""
    files = contents(board)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, "utf-8")
        table = rounded(board.table)
        table.to_parquet(out / "leaderboard.parquet", index=False)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written to ({error.strerror or error}); give --out a folder."
        ) from error
    return [out / name for name in [*files, "leaderboard.parquet"]]


def contents(board: Board) -> dict[str, str]:
    """Return the text files of a leaderboard by name."""
    return {
        "README.md": to_markdown(board),
        "leaderboard.csv": rounded(board.table).to_csv(index=False),
        "index.html": render(board),
    }


def stale(board: Board, out: Path) -> list[str]:
    """Return the names of the files in `out` that are not what `build` would write."""
    wrong = [
        name
        for name, text in contents(board).items()
        if not (out / name).exists()
        or _ours((out / name).read_text("utf-8", errors="replace")) != _ours(text)
    ]
    table = out / "leaderboard.parquet"
    try:
        same = pd.read_parquet(table).equals(rounded(board.table))
    except (OSError, ValueError):
        same = False
    return wrong if same else [*wrong, table.name]


def _ours(text: str) -> str:
    """Return the text without the charts' library."""
    before, _, after = text.partition(LIBRARY)
    return before + after.partition("</script>")[2]


def to_markdown(board: Board) -> str:
    """Return the tables and what they recommend."""
    parts = [HEAD]
    for section in board.sections:
        parts += [report.heading(section.shown), _table(section)]
        runs = [run for entry in section.entries for run in entry.runs]
        parts += [cell(section.recommendation), f"Trained on {hardware_of(runs)}."]
    return "\n\n".join([*parts, report.NOTE]) + "\n"


def _table(section: Section) -> str:
    rows = section.rows
    marks = rows["verified"].map({True: "", False: " (not verified)"})
    return report.markdown(rows.assign(model=rows["name"] + marks))
