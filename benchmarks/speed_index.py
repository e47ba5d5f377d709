"""`python -m benchmarks.speed_index [LIBRARY]`: searching by a graph against comparing with all.

Prints, for libraries of some sizes, seconds of building the graph, its recall at 10, and
milliseconds a query of both ways, in turn: median (lowest to highest) over the rounds. Queries are
rows of the library, drawn anew after the graph's width was chosen; small libraries have no graph.
Given a LIBRARY, the vectors are made of its embeddings, each repeated as often as needed with noise
of its own; else they are drawn from a mixture of Gaussians.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.timing import Ratio, in_turn
from zoo import hnsw, runtime
from zoo.errors import guard
from zoo.library import read_library
from zoo.neighbours import Neighbours

SIZES = (100_000, 200_000, 500_000)
NUM_FEATURES = 200
CENTRES = 500  # of the mixture: standard normal
NOISE = 0.5  # standard deviation around a centre
JITTER = 0.3  # of copies, in standard deviations of each feature
QUERIES = 100  # of a round
ROUNDS = 3
SEED = 1  # of the queries; the graph's width is chosen on those of seed 0


class Line(NamedTuple):
    """Of a library: seconds of building, and milliseconds a query."""

    tracks: str
    build_s: str
    width: str
    recall_at_10: str
    graph_ms: str
    exact_ms: str


def mixture(num_rows: int) -> np.ndarray:
    """Return points around `CENTRES` centres `[B,D]`."""
    random = np.random.default_rng(0)
    centre = random.standard_normal((CENTRES, NUM_FEATURES), dtype=np.float32)
    x_BD = random.standard_normal((num_rows, NUM_FEATURES), dtype=np.float32)
    x_BD *= NOISE
    for part_BD in np.array_split(x_BD, 100):
        part_BD += centre[random.integers(CENTRES, size=len(part_BD))]
    return x_BD


def copies(embedding_BD: np.ndarray, num_rows: int) -> np.ndarray:
    """Return so many rows: those given again and again, each time with other noise."""
    random = np.random.default_rng(0)
    x_BD = random.standard_normal((num_rows, embedding_BD.shape[1]), dtype=np.float32)
    x_BD *= JITTER * embedding_BD.std(0)
    for start in range(0, num_rows, len(embedding_BD)):
        part_BD = x_BD[start : start + len(embedding_BD)]
        part_BD += embedding_BD[: len(part_BD)]
    return x_BD


def measure(x_BD: np.ndarray) -> Line:
    """Build the index of these embeddings, and ask it."""
    began = time.perf_counter()
    ours = Neighbours(x_BD)
    build_s, tracks = f"{time.perf_counter() - began:.1f}", f"{len(x_BD):,}"
    query_QD = hnsw.sample(x_BD, SEED)
    if ours.graph is None:
        rounds = in_turn(lambda: ask(ours.search, query_QD[:QUERIES]), rounds=ROUNDS)
        return Line(tracks, build_s, "-", "-", "-", in_ms([exact for (exact,) in rounds]))
    found_QN, exact_QN = ask(ours.search, query_QD), ask(ours.search_exactly, query_QD)
    rounds = in_turn(
        lambda: ask(ours.search, query_QD[:QUERIES]),
        lambda: ask(ours.search_exactly, query_QD[:QUERIES]),
        rounds=ROUNDS,
    )
    graph, exact = zip(*rounds, strict=True)
    recall = f"{hnsw.recall(found_QN, exact_QN):.3f}"
    return Line(tracks, build_s, str(ours.graph.width), recall, in_ms(graph), in_ms(exact))


def ask(search: Callable[..., tuple[np.ndarray, np.ndarray]], query_QD: np.ndarray) -> np.ndarray:
    """Return the similarities of what is found, one query after the other `[Q,N]`."""
    number = hnsw.NEAREST + 1  # the first is the query itself
    return np.stack([search(x_D, number)[0] for x_D in query_QD])


def in_ms(seconds: Sequence[float]) -> str:
    """Return what a query takes, of the seconds of some rounds."""
    return str(Ratio(tuple(1000 * value / QUERIES for value in seconds)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed_index", description=__doc__)
    parser.add_argument("library", nargs="?", type=Path, help="a file of zoo.embed")
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=SIZES, metavar="N", help="numbers of tracks"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args(arguments)
    if options.library:
        given_BD = read_library(options.library).embedding_BD
        make: Callable[[int], np.ndarray] = partial(copies, given_BD)
        made = f"{len(given_BD):,} embeddings of {options.library.name} again and again, with "
        made += f"noise of {JITTER} standard deviations of each of {given_BD.shape[1]} features"
    else:
        make = mixture
        made = f"{NUM_FEATURES} features, drawn around {CENTRES} centres of a standard normal "
        made += f"distribution with a standard deviation of {NOISE}"
    threads = hnsw.import_faiss().omp_get_max_threads()
    title = f"{runtime.processor()}, {threads} threads of {os.cpu_count()} cores; {made}"
    print(title, flush=True)
    table = pd.DataFrame([measure(make(size)) for size in options.sizes])
    text = table.to_markdown(index=False, disable_numparse=True)
    print(f"\n{text}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(f"# Nearest neighbours on {title}\n\n{text}\n")


if __name__ == "__main__":
    guard(main)
