"""The rows of a library that are nearest to a point, by the cosine of their embeddings.

Up to `EXACT_UP_TO` rows are compared one by one, which is exact; of more, a graph finds nearly all
(`zoo.hnsw`). A graph sees the surroundings of a point alone: rows of another genre, say, may all
lie elsewhere, and then they too are compared one by one. B rows, D features, N answers. Imports no
torch, and faiss when first used.
"""

import sys
import time
from pathlib import Path

import numpy as np

from zoo import hnsw
from zoo.hnsw import Graph, unit

EXACT_UP_TO = 100_000  # rows
SPARE = 64  # rows that a graph gives beyond what is asked for, as some may not be among the chosen


class Neighbours:
    """Embeddings, ready to be searched. A row that is all zero has similarity 0 to every point."""

    def __init__(
        self, embedding_BD: np.ndarray, library: Path | None = None, most: int | None = None
    ) -> None:
        """Take the graph from beside the library's file, where one is needed; build it, and say so
        on stderr, if there is none of these embeddings. Searches will be among at most `most` rows,
        by default all; among few, no graph is needed.

        OMP_NUM_THREADS threads are used. Raises `InputError` without faiss.
        """
        self._faiss = hnsw.import_faiss()
        self.graph: Graph | None = None
        if (len(embedding_BD) if most is None else most) > EXACT_UP_TO:
            self.graph = _graph(embedding_BD, library)
            self._rows = self.graph.rows
        else:
            self._rows = hnsw.add(self._faiss.IndexFlatIP(embedding_BD.shape[1]), embedding_BD)

    def __len__(self) -> int:
        return int(self._rows.ntotal)

    def search(
        self, x_D: np.ndarray, number: int, among_B: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return similarities and rows `[N]` of what is nearest to a point, the nearest first.

        N is `number`, or that of all rows where `among` is true if there are fewer.
        """
        num_rows = len(self) if among_B is None else int(among_B.sum())
        if self.graph and num_rows > EXACT_UP_TO:
            similarity_N, row_N = self._near(self.graph, x_D, number, among_B)
            if len(row_N) == number:
                return similarity_N, row_N
        return self.search_exactly(x_D, min(number, num_rows), among_B)

    def search_exactly(
        self, x_D: np.ndarray, number: int, among_B: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return likewise what is nearest of all; no fewer rows than `number` may be chosen."""
        if number == 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        # without a selector, faiss 1.15 shares a query among threads: 24 ms on two, 4 ms on one
        chosen_B = np.ones(len(self), bool) if among_B is None else among_B
        bits = np.packbits(chosen_B, bitorder="little")
        parameters = self._faiss.SearchParameters(sel=self._faiss.IDSelectorBitmap(bits))
        similarity_1N, row_1N = self._rows.search(unit(x_D[None]), number, params=parameters)
        return similarity_1N[0], row_1N[0]

    @staticmethod
    def _near(
        graph: Graph, x_D: np.ndarray, number: int, among_B: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what a graph finds: fewer where too many of the nearest are not among the chosen,
        and nothing where comparing with all rows costs less."""
        asked = number + (0 if among_B is None else SPARE)
        width = graph.width * max(asked, hnsw.NEAREST) // hnsw.NEAREST
        if graph.is_dearer(width):
            return np.empty(0, np.float32), np.empty(0, np.int64)
        similarity_1N, row_1N = graph.search(unit(x_D[None]), asked, width)
        found_N = row_1N[0] >= 0
        if among_B is not None:
            found_N &= among_B[row_1N[0]]
        return similarity_1N[0][found_N][:number], row_1N[0][found_N][:number]


def _graph(embedding_BD: np.ndarray, library: Path | None) -> Graph:
    """Return the graph that is kept beside a library, or a new one that is kept from now on."""
    file = library and library.with_name(f"{library.name}.faiss")
    if file and (kept := hnsw.read(file, embedding_BD)):
        return kept
    print(f"indexing {len(embedding_BD):,} tracks: ", end="", file=sys.stderr, flush=True)
    began = time.monotonic()
    graph = hnsw.build(embedding_BD)
    said = f"{time.monotonic() - began:.0f} s, recall at {hnsw.NEAREST} is {graph.recall:.3f}"
    if graph.recall < hnsw.LEAST_RECALL:
        said += ", too little, so tracks are compared one by one"
    try:
        if file:
            hnsw.write(file, graph, embedding_BD)
    except OSError as error:
        said += f"; {file} cannot be written ({error.strerror or error})"
    print(said, file=sys.stderr)
    return graph
