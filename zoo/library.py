"""The embeddings of a library: one Parquet file, that says of which model it is.

A row a track: `path` (absolute), `size` and `mtime_ns` of its file, `seconds`, `artist` and `title`
(empty where the file or the table of tracks does not say), `genre` (several joined by `|`),
`p:<class>` (calibrated where the model is), and `embedding`, the mean over the track's chunks.
The schema's metadata hold `Origin`. Imports no torch.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from zoo.errors import InputError
from zoo.runners import About
from zoo.shards import complete

KEY = b"genre_zoo"
FACTS = ("path", "size", "mtime_ns", "seconds", "artist", "title", "genre")
POOLING = "mean over chunks"


@dataclass(frozen=True)
class Origin:
    """What the embeddings of a file follow from, beside the audio."""

    model: str  # as it was named
    weights: str  # its hash
    architecture: str
    classes: tuple[str, ...]
    sample_rate: int  # Hz
    clip_samples: int
    pooling: str
    listen: str
    num_features: int

    @classmethod
    def of(cls, about: About, name: str, listen: str) -> "Origin":
        """Return the origin of what a model gives, listening in that way."""
        return cls(
            model=name,
            weights=about.weights,
            architecture=f"{about.model} on {about.frontend}",
            classes=about.classes,
            sample_rate=about.sample_rate,
            clip_samples=about.clip_samples,
            pooling=POOLING,
            listen=listen,
            num_features=about.num_features,
        )

    def differs(self, other: "Origin") -> str:
        """Return how the other differs, but for the name of its model; empty where it does not."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if field.name != "model" and ours != theirs:
                return f"{field.name.replace('_', ' ')} {theirs}, not {ours}"
        return ""


@dataclass(frozen=True)
class Library:
    """The tracks of a library, row by row, and where their embeddings come from."""

    tracks: pd.DataFrame  # all columns but the embedding
    embedding_BD: np.ndarray  # float32
    origin: Origin
    file: Path

    def __len__(self) -> int:
        return len(self.tracks)


def to_table(tracks: pd.DataFrame, embedding_BD: np.ndarray, origin: Origin) -> pa.Table:
    """Return the table that a file holds."""
    flat = pa.array(np.ascontiguousarray(embedding_BD, np.float32).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, origin.num_features)
    table = pa.Table.from_pandas(tracks, preserve_index=False).append_column("embedding", column)
    return table.replace_schema_metadata({KEY: json.dumps(asdict(origin), ensure_ascii=False)})


def write_library(file: Path, table: pa.Table) -> None:
    """Write a table of `to_table` whole or not at all. Raises `InputError` where it cannot."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with complete(file) as stream:
            pq.write_table(table, stream, compression="zstd")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror or error}.") from error


def read_library(file: Path) -> Library:
    """Read what `python -m zoo.embed` wrote. Raises `InputError` for anything else."""
    try:
        table = pq.read_table(file)
    except FileNotFoundError as error:
        made = "`python -m zoo.embed MODEL LIBRARY --out FILE` makes one"
        raise InputError(f"{file} does not exist; {made}.") from error
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{file} cannot be read as Parquet: {reason}.") from error
    origin = _origin(file, table.schema)
    missing = [name for name in (*FACTS, "embedding") if name not in table.column_names]
    if missing:
        raise InputError(f"{file} has no column {missing[0]!r}; write it anew with zoo.embed.")
    embedding_BD = embeddings_of(table)
    if embedding_BD.shape[1] != origin.num_features or not np.isfinite(embedding_BD).all():
        raise InputError(
            f"{file}: its embeddings are not the {origin.num_features} finite numbers a track that "
            "it announces; write it anew with zoo.embed."
        )
    return Library(table.drop_columns("embedding").to_pandas(), embedding_BD, origin, file)


def embeddings_of(table: pa.Table) -> np.ndarray:
    """Return the column `embedding`, float32 `[B,D]`."""
    column = table["embedding"].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return np.full((len(column), 0), 0, np.float32)
    values = column.flatten().to_numpy(zero_copy_only=False)
    return values.astype(np.float32, copy=False).reshape(len(column), column.type.list_size)


def _origin(file: Path, schema: pa.Schema) -> Origin:
    try:
        content: dict[str, Any] = json.loads((schema.metadata or {})[KEY])
        content["classes"] = tuple(content["classes"])
        return Origin(**content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} does not say which model its embeddings are of: it was not written by "
            "`python -m zoo.embed`."
        ) from error


def facts(rows: Sequence[tuple[Any, ...]], classes: Sequence[str], prob_BK: Any) -> pd.DataFrame:
    """Return the columns of `FACTS` and the probabilities."""
    frame = pd.DataFrame(rows, columns=list(FACTS))
    frame = frame.astype({"path": "str", "artist": "str", "title": "str", "genre": "str"})
    frame = frame.astype({"size": "int64", "mtime_ns": "int64", "seconds": "float64"})
    probabilities = np.asarray(prob_BK, np.float32).reshape(len(rows), len(classes))
    return frame.join(pd.DataFrame(probabilities, columns=[f"p:{name}" for name in classes]))
