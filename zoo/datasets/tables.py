"""The tables that data sets come with: named columns, as text."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from zoo.datasets.card import Card
from zoo.errors import InputError, nearest


def existing(card: Card, root: Path, name: str) -> Path:
    """Return the data set's file of that name. Raises `InputError` where `root` lacks it."""
    if not (root / name).is_file():
        raise card.missing(root, name)
    return root / name


def read_table(file: Path, columns: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """Return the named columns of a file with a header row; what is empty is the empty text.

    Raises `InputError` for a file that cannot be read, or lacks a column.
    """
    with reading(file):
        header = pd.read_csv(file, sep=separator, nrows=0).columns
        check_columns(file, columns, [str(name) for name in header])
        table = pd.read_csv(
            file, sep=separator, usecols=list(columns), dtype=str, keep_default_na=False
        )
    return table[list(columns)]


def check_columns(file: Path, columns: Sequence[str], header: Sequence[str]) -> None:
    """Raise `InputError` for a column that the file's header lacks."""
    for column in columns:
        if column not in header:
            close = nearest(column, header[:20])
            raise InputError(f"{file} is not as published: it has no column {column!r}; {close}")


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Raise `InputError` for a file that cannot be read as a table of text."""
    try:
        yield
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{file} cannot be read: {reason}.") from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{file} is empty.") from error
