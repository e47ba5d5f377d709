"""Embeddings as a graph of neighbours (HNSW: Malkov and Yashunin 2016) of faiss, and its file.

A graph is searched as widely as it takes to find what comparing with all rows finds. B rows,
D features, Q queries, N answers. Imports no torch.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import InputError
from zoo.shards import complete

LEAST_RECALL = 0.98
NEAREST = 10  # answers that recall is measured in, the row itself left out
SAMPLE = 2000  # rows that it is measured on
LINKS = 32  # of a row (M); twice as many in the lowest layer
CANDIDATES = 80  # for the links of a row (efConstruction)
NARROWEST = 16  # rows that a search keeps in view (efSearch)
ROUNDING = 1e-6  # of similarities in float32
BLOCK = 65_536  # rows that are normalised at a time


@dataclass(frozen=True)
class Graph:
    """Rows, the graph over them, how widely it is searched, and what that finds."""

    rows: Any  # faiss.IndexFlatIP, of unit vectors
    index: Any  # faiss.IndexHNSWFlat
    width: int  # efSearch
    recall: float  # at `NEAREST`, on rows of its own

    def search(self, unit_QD: np.ndarray, number: int, width: int) -> Any:
        """Return similarities and rows `[Q,N]` of what is near, the nearest first; rows are -1
        where no more is found."""
        parameters = import_faiss().SearchParametersHNSW(efSearch=width)
        return self.index.search(unit_QD, number, params=parameters)

    def is_dearer(self, width: int) -> bool:
        """Tell whether a search of that width compares with as many rows as there are."""
        return width * 2 * LINKS >= self.rows.ntotal


def import_faiss() -> Any:
    """Return faiss. Raises `InputError` where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        message = "nearest neighbours need faiss, which is not installed: "
        raise InputError(f"{message}pip install 'genre-zoo[recommend]'.") from error
    return faiss


def unit(x_BD: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32; rows that are all zero stay so."""
    norm_B1 = np.linalg.norm(x_BD, axis=1, keepdims=True)
    return np.asarray(x_BD / np.where(norm_B1 > 0, norm_B1, 1), np.float32)


def add(index: Any, embedding_BD: np.ndarray) -> Any:
    """Add unit vectors of the rows to an index of faiss, and return it."""
    for start in range(0, len(embedding_BD), BLOCK):
        index.add(unit(embedding_BD[start : start + BLOCK]))
    return index


def build(embedding_BD: np.ndarray) -> Graph:
    """Return a graph with a recall of at least `LEAST_RECALL`, or one that is dearer than
    comparing with all rows."""
    faiss = import_faiss()
    sizes = embedding_BD.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(*sizes)
    index.hnsw.efConstruction = CANDIDATES
    rows = faiss.downcast_index(add(index, embedding_BD).storage)
    unit_QD, graph = sample(embedding_BD), Graph(rows, index, NARROWEST // 2, 0.0)
    exact_QN, _ = rows.search(unit_QD, NEAREST + 1)
    while graph.recall < LEAST_RECALL and not graph.is_dearer(graph.width):
        graph = replace(graph, width=2 * graph.width)
        found_QN, _ = graph.search(unit_QD, NEAREST + 1, graph.width)
        graph = replace(graph, recall=recall(found_QN, exact_QN))
    return graph


def sample(embedding_BD: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return unit vectors of up to `SAMPLE` rows that are not all zero `[Q,D]`."""
    there = np.flatnonzero(embedding_BD.any(1))
    chosen = np.random.default_rng(seed).permutation(there)[:SAMPLE]
    return unit(embedding_BD[chosen])


def recall(found_QN: np.ndarray, exact_QN: np.ndarray) -> float:
    """Return the share of the nearest that are found, of similarities that fall from left to right.

    The queries are rows themselves: the first of the N is left out. What is as similar as the last
    of the nearest is as good.
    """
    hits_Q = (found_QN >= exact_QN[:, -1:] - ROUNDING).sum(1) - 1
    return float(hits_Q.sum() / max(1, hits_Q.size * (exact_QN.shape[1] - 1)))


def write(file: Path, graph: Graph, embedding_BD: np.ndarray) -> None:
    """Write the graph without its rows, whole or not at all: the hash of all that follows, what it
    belongs to, and what faiss makes of it. Raises `OSError` where it cannot."""
    faiss = import_faiss()
    found = {"width": graph.width, "recall": graph.recall}
    head = json.dumps(_belongs(embedding_BD) | found).encode()
    links = faiss.serialize_index(graph.index, faiss.IO_FLAG_SKIP_STORAGE).tobytes()
    content = b"\n".join([head, links])
    with complete(file) as stream:
        stream.write(_hash(content).encode() + b"\n")
        stream.write(content)


def read(file: Path, embedding_BD: np.ndarray) -> Graph | None:
    """Read what `write` wrote; None where it is of other embeddings, damaged or not there."""
    faiss = import_faiss()
    try:
        digest, _, content = file.read_bytes().partition(b"\n")
        if digest != _hash(content).encode():
            return None
        head, _, links = content.partition(b"\n")
        said = json.loads(head)
        if not _belongs(embedding_BD).items() <= said.items():
            return None
        index = faiss.deserialize_index(np.frombuffer(links, np.uint8))
    except (OSError, RuntimeError):  # of RuntimeError: another version of faiss
        return None
    index.storage = rows = add(faiss.IndexFlatIP(embedding_BD.shape[1]), embedding_BD)
    return Graph(rows, index, said["width"], said["recall"])


def _belongs(embedding_BD: np.ndarray) -> dict[str, Any]:
    """Return what a graph of these embeddings says of them, and of how it is built."""
    num_rows, num_features = embedding_BD.shape
    return {
        "rows": num_rows,
        "dimensions": num_features,
        "embeddings": _hash(np.ascontiguousarray(embedding_BD).data),
        "built": [LINKS, CANDIDATES, NARROWEST, LEAST_RECALL],
    }


def _hash(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()
