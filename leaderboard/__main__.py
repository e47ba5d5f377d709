"""`python -m leaderboard show DIR...`: rank the runs in these folders.

`compare A B DIR...` tells two models apart, or two runs; `power A B DIR...` says what would;
`submit RUN...` adds runs to the results that the project keeps.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from leaderboard import between
from leaderboard.submit import submit
from leaderboard.table import make_table, to_markdown, write
from zoo.errors import InputError, guard
from zoo.pooling import pool
from zoo.results import FILE


def find_runs(directories: Sequence[Path]) -> list[Path]:
    """Return the folders at or below `directories` that hold a result, each once.

    Raises `InputError` for a directory that is not there or holds none.
    """
    found: dict[Path, Path] = {}
    for directory in directories:
        if not directory.is_dir():
            raise InputError(f"{directory} is no folder; give a run, or a folder of runs.")
        files = [file for file in sorted(directory.rglob(FILE)) if file.is_file()]
        if not files:
            raise InputError(
                f"{directory} holds no {FILE}; give a finished run, or a folder of such runs."
            )
        for file in files:
            found.setdefault(file.parent.resolve(), file.parent)
    return list(found.values())


def show(directories: Sequence[Path], out: Path | None) -> None:
    """Print the leaderboard of the runs in `directories`, and write it to the folder `out`."""
    folders = find_runs(directories)
    pooled = pool(folders, warn)
    if not pooled:
        raise InputError(f"none of the {len(folders)} results is valid; a leaderboard needs one.")
    table = make_table(pooled)
    print(to_markdown(table))
    if out is not None:
        write(table, out)
        print(f"wrote {out / 'leaderboard'}.md, .csv and .parquet", file=sys.stderr)


def compare(a: str, b: str, directories: Sequence[Path]) -> None:
    """Print whether two architectures differ, or, where a and b are runs, two checkpoints."""
    if all((Path(name) / FILE).is_file() for name in (a, b)):
        print(between.checkpoints(Path(a), Path(b), warn))
        return
    found = between.protocols_with(a, b, find_runs(directories), warn)
    print("\n\n".join(between.architectures(*pair) for pair in found))


def say_power(a: str, b: str, directories: Sequence[Path]) -> None:
    """Print how many tracks and seeds would tell two architectures apart."""
    found = between.protocols_with(a, b, find_runs(directories), warn)
    print("\n\n".join(between.needed(*pair) for pair in found))


def add(runs: Sequence[Path]) -> None:
    """Add runs to the results that are kept."""
    for run in find_runs(runs):
        print(f"{run} is now {submit(run)}")


def warn(line: str) -> None:
    """Say what is left out."""
    print(line, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m leaderboard", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    shower = commands.add_parser("show", help="print tables of the runs in folders, best first")
    shower.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="a run, or runs")
    shower.add_argument(
        "--out", type=Path, metavar="DIR", help="also write Markdown, CSV and Parquet there"
    )
    pairs = {"compare": "say whether two models differ", "power": "say what would tell them apart"}
    for name, about in pairs.items():
        pair = commands.add_parser(name, help=about)
        for which in "ab":
            pair.add_argument(
                which, metavar=which.upper(), help="a model's name, or a run's folder"
            )
        default = [Path("runs")]
        pair.add_argument("directories", type=Path, nargs="*", metavar="DIR", default=default)
    adder = commands.add_parser("submit", help="add runs to the results that are kept")
    adder.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="a run, or runs")
    options = parser.parse_args(arguments)
    if options.command == "submit":
        add(options.directories)
    elif options.command == "show":
        show(options.directories, options.out)
    else:
        {"compare": compare, "power": say_power}[options.command](
            options.a, options.b, options.directories
        )


if __name__ == "__main__":
    guard(main)
