"""`python -m benchmarks.measure RUN NAME [NAME ...]`: measure a finished run further.

Writes RUN/measures/NAME.parquet, whole or not at all; what is there already is not measured again.
"""

import argparse
import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import measures
from zoo.errors import InputError, check_choice, guard

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(measures.__path__)))

COMPUTED = ("calibration",)  # from the scores that every run has: nothing is to be measured
ALONE = "cost"  # the measure that needs the machine to itself
ONLY: Mapping[str, Callable[[Any], bool]] = {  # measures that not every run's configuration allows
    "held_out": lambda config: bool(config["dataset"].get("held_out")),
    "listening": lambda config: config["dataset"].get("name") == "synth",
}


def applies(name: str, config: Mapping[str, Any]) -> bool:
    """Tell whether a run of this configuration can be measured so."""
    return name not in ONLY or ONLY[name](config)


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"of {', '.join(NAMES)}")
    options = parser.parse_args(arguments)
    for name in options.names:
        check_choice("NAME", name, NAMES)
    missing = [name for name in options.names if not file_of(options.run, name).exists()]
    if not missing:
        return
    from zoo.opened import open_run

    run = open_run(options.run)
    for name in missing:
        module = importlib.import_module(f"benchmarks.measures.{name}")
        write(file_of(options.run, name), module.measure(run))


if __name__ == "__main__":
    guard(main)
