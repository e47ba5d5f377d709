"""`python -m benchmarks.measure NAME RUN [RUN ...]`: measure finished runs further.

Writes RUN/measures/NAME.parquet, whole or not at all; what is there already is not measured again.
"""

import argparse
import importlib
import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks import measures
from zoo.errors import InputError, check_choice, guard

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(measures.__path__)))


def file_of(folder: Path, name: str) -> Path:
    """Return where a run's table of a measure is."""
    return folder / "measures" / f"{name}.parquet"


def read(folder: Path, name: str) -> pd.DataFrame:
    """Return a run's table of a measure. Raises `InputError` where it is missing or damaged."""
    file = file_of(folder, name)
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}.") from error


def write(file: Path, table: pd.DataFrame) -> None:
    """Write a table whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    table.to_parquet(part, index=False)
    part.replace(file)


def measure(name: str, folder: Path) -> None:
    """Measure a run where that has not been done."""
    from benchmarks.opened import open_run

    if not file_of(folder, name).exists():
        module = importlib.import_module(f"benchmarks.measures.{name}")
        write(file_of(folder, name), module.measure(open_run(folder)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("name", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run")
    options = parser.parse_args(arguments)
    check_choice("NAME", options.name, NAMES)
    for folder in options.runs:
        measure(options.name, folder)


if __name__ == "__main__":
    guard(main)
