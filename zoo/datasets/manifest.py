"""`manifest`: a CSV or Parquet file that names the tracks."""

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
    frame = _read(file)
    for column in ("path", "label"):
        if column not in frame:
            close = nearest(column, frame.columns)
            raise InputError(f"{file} has no column {column!r}, which it needs; {close}")
    unnamed = frame["path"].isna() | (frame["path"].astype(str).str.strip() == "")
    if unnamed.any():
        row = int(unnamed.to_numpy().argmax()) + 1
        raise InputError(f"{file}: track number {row} has no path; each needs one.")
    names = frame["path"].astype(str)
    if "track" not in frame:
        frame["track"] = names
    frame["path"] = [str(file.parent.absolute() / Path(name).expanduser()) for name in names]
    name = file.absolute().parent.name if file.stem.lower() in GENERIC else file.stem
    return Manifest(name, frame, source=str(file))


def _read(file: Path) -> pd.DataFrame:
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(file)
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        UnicodeDecodeError,
        pyarrow.ArrowInvalid,
    ) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} cannot be read as CSV or Parquet: {reason}.") from error
