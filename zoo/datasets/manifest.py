"""`manifest`: a CSV or Parquet file that names the tracks."""

import os
import warnings
from pathlib import Path

import pandas as pd
import pyarrow

from zoo.datasets.base import Manifest
from zoo.errors import InputError, nearest

GENERIC = {"data", "index", "labels", "manifest", "metadata", "tracks"}  # say nothing as a name


def load(cache: Path, *, path: Path | None = None) -> Manifest:
    """Read a table with the columns `path` and `label`, and optionally `split`, `artist`,
    `group`, `track`. Relative paths start from the file's folder; several labels are joined by
    `|`. Raises `InputError` for a file that is missing, of another kind or without a column.
    """
    if path is None:
        raise InputError("dataset.path is not set: dataset=manifest needs dataset.path=FILE.")
    file = Path(path)
    if not file.is_file():
        raise InputError(f"dataset.path={file} is not a file; give a CSV or Parquet manifest.")
    frame = read_table(file).rename(columns=lambda name: str(name).strip())
    if frame.columns.has_duplicates:
        raise InputError(f"{file} has two columns {frame.columns[frame.columns.duplicated()][0]}.")
    for column in ("path", "label"):
        if column not in frame:
            close = nearest(column, frame.columns)
            raise InputError(f"{file} has no column {column!r}, which it needs; {close}")
    if frame["label"].map(pd.api.types.is_list_like).any():
        raise InputError(f"{file} has lists of labels; join several labels by | in one text.")
    names = frame["path"].astype(str).fillna("")
    unnamed = (names.str.strip() == "").to_numpy()
    if unnamed.any():
        row = int(unnamed.argmax()) + 1
        raise InputError(f"{file}: track number {row} has no path; each needs one.")
    given = frame["track"].astype(str).fillna("") if "track" in frame else names
    frame["track"] = given.where(given != "", names)
    frame["path"] = [absolute(file.parent.absolute(), name) for name in names]
    name = file.absolute().parent.name if file.stem.lower() in GENERIC else file.stem
    return Manifest(name, frame, source=str(file))


def absolute(folder: Path, name: str) -> str:
    """Return the path of a file that a table in `folder` names."""
    return str(folder / os.path.expanduser(name))  # noqa: PTH111 (Path's fails for no user's ~name)


def read_table(file: Path) -> pd.DataFrame:
    """Read CSV (as text) or Parquet. Raises `InputError` for what is neither."""
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(file, dtype_backend="numpy_nullable")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # more fields than columns
            return pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError, pyarrow.ArrowException, pd.errors.ParserWarning) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{file} cannot be read as CSV or Parquet: {reason}.") from error
