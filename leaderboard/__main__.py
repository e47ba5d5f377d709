"""`python -m leaderboard COMMAND`: rank, compare, choose, and keep results that can be trusted.

show DIR...              tables of your own runs, best first
build                    README.md, CSV, Parquet and the page index.html of the results kept
choose                   the most accurate, or tied with it, that costs least
compare A B, power A B   is A better than B; what would tell
submit RUN..., verify RUN...   add runs to the results; score their weights again, so that they rank
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboard import between
from leaderboard.board import Board, read_board
from leaderboard.choose import choose, parse_size
from leaderboard.kept import read_kept
from leaderboard.protocols import PROTOCOLS, RESULTS
from leaderboard.submit import submit
from leaderboard.table import make_table, to_markdown, write
from leaderboard.verify import verify
from zoo.errors import InputError, guard
from zoo.pooling import pool
from zoo.results import FILE

DEVICES = ("cpu", "gpu")


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


def ranking_runs(directories: Sequence[Path]) -> list[Path]:
    """Return the folders of the runs that claims are made of: all, but of a public leaderboard only
    those that are verified."""
    found: list[Path] = []
    for directory in directories:
        if (directory / PROTOCOLS).exists():
            found += sorted(read_kept(directory).ranked)
        else:
            found += find_runs([directory])
    return found


def show(directories: Sequence[Path], out: Path | None) -> None:
    """Print the leaderboard of the runs in folders, and write it to the folder `out`."""
    folders = find_runs(directories)
    pooled = pool(folders, warn)
    if not pooled:
        raise InputError(f"none of the {len(folders)} results is valid; a leaderboard needs one.")
    table = make_table(pooled)
    print(to_markdown(table))
    if out is not None:
        write(table, out)
        print(f"wrote {out / 'leaderboard'}.md, .csv and .parquet", file=sys.stderr)


def build_or_check(options: argparse.Namespace) -> int:
    """Write a leaderboard's files, or say which are stale; 1 where one is, or is refused."""
    try:
        from leaderboard.build import build, stale
    except ImportError as error:
        raise InputError(f"build needs {error.name}: pip install 'genre-zoo[page]'.") from error
    board = _board(options.results)
    if options.check:
        wrong = stale(board, options.out)
        for name in wrong:
            print(f"{options.out / name} is stale; run `python -m leaderboard build`.")
        return int(bool(wrong or board.refused))
    for file in build(board, options.out):
        print(f"wrote {file}")
    return int(bool(board.refused))


def _board(results: Path) -> Board:
    board = read_board(results)
    for folder, reason in board.refused:
        warn(f"{folder} is refused: {reason}")
    return board


def say_choice(options: argparse.Namespace) -> None:
    """Print which row to take."""
    limit = parse_size(options.max_params) if options.max_params else None
    chosen = choose(_board(options.results), options.device, limit, options.dataset)
    print("\n\n".join(chosen))


def compare(options: argparse.Namespace) -> None:
    """Print whether two architectures differ, or, where a and b are runs, two checkpoints."""
    a, b = options.a, options.b
    if all((Path(name) / FILE).is_file() for name in (a, b)):
        print(between.checkpoints(Path(a), Path(b), warn))
        return
    found = between.protocols_with(a, b, ranking_runs(options.directories), warn)
    print("\n\n".join(between.architectures(*pair) for pair in found))


def say_power(options: argparse.Namespace) -> None:
    """Print how many tracks and seeds would tell two architectures apart."""
    found = between.protocols_with(options.a, options.b, ranking_runs(options.directories), warn)
    print("\n\n".join(between.needed(*pair) for pair in found))


def add(options: argparse.Namespace) -> None:
    """Add runs to the results that are kept."""
    for run in find_runs(options.directories):
        print(f"{run} is now {submit(run, options.results, options.new_protocol)}")


def confirm(options: argparse.Namespace) -> None:
    """Score the weights of runs again."""
    for run in find_runs(options.directories):
        verified = verify(run, options.path, options.results)
        print(f"{run}: verified, probabilities differ by {verified.largest_difference:g} at most")


def warn(line: str) -> None:
    """Say what is left out."""
    print(line, file=sys.stderr)


COMMANDS: Mapping[str, tuple[str, Callable[[argparse.Namespace], int | None]]] = {
    "show": (
        "print tables of the runs in folders, best first",
        lambda o: show(o.directories, o.out),
    ),
    "build": ("write the leaderboard of the results that are kept", build_or_check),
    "choose": ("say which model to take", say_choice),
    "compare": ("say whether two models differ", compare),
    "power": ("say what would tell two models apart", say_power),
    "submit": ("add runs to the results that are kept", add),
    "verify": ("score the weights of submitted runs again, so that they rank", confirm),
}


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    root = argparse.ArgumentParser(
        prog="python -m leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made = root.add_subparsers(required=True, metavar="COMMAND", dest="command")
    commands = {name: made.add_parser(name, help=about) for name, (about, _) in COMMANDS.items()}
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    commands["show"].add_argument("directories", nargs="+", help="a run, or runs", **folder)
    commands["show"].add_argument(
        "--out", help="also write Markdown, CSV and Parquet there", **folder
    )
    for name in ("compare", "power"):
        for which in "ab":
            help_ = "a model's name, or a run's folder"
            commands[name].add_argument(which, metavar=which.upper(), help=help_)
        commands[name].add_argument("directories", nargs="*", default=[RESULTS], **folder)
    for name in ("submit", "verify"):
        commands[name].add_argument("directories", type=Path, nargs="+", metavar="RUN")
    for name in ("build", "choose", "submit", "verify"):
        commands[name].add_argument(
            "--results", default=RESULTS, help="a folder of results, such as runs", **folder
        )
    commands["build"].add_argument(
        "--out", default=RESULTS.parent, help="where the files go", **folder
    )
    commands["build"].add_argument(
        "--check", action="store_true", help="write nothing; fail if the files are stale"
    )
    commands["choose"].add_argument("--max-params", metavar="N", help="parameters, such as 5M")
    commands["choose"].add_argument("--device", choices=DEVICES, help="that it must be fast on")
    commands["choose"].add_argument("--dataset", metavar="NAME", help="the data most like yours")
    commands["submit"].add_argument(
        "--new-protocol", action="store_true", help="runs of data or splits not there yet"
    )
    commands["verify"].add_argument("--path", help="where the data set lies here", **folder)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    options = parser().parse_args(arguments)
    return COMMANDS[options.command][1](options) or 0


if __name__ == "__main__":
    guard(lambda: sys.exit(main()))
