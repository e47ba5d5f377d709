"""Two ways of doing the same thing, timed in turn."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """How many times something is there, by the rounds of one run."""

    values: tuple[float, ...]
    unit: str = ""

    def __str__(self) -> str:
        median, low, high = statistics.median(self.values), min(self.values), max(self.values)
        return f"{median:.3g}{self.unit} ({low:.3g} to {high:.3g})"

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)


def seconds(work: Work) -> float:
    """Return how long the work takes, that on a GPU included."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def in_turn(*works: Work, rounds: int = 7) -> list[tuple[float, ...]]:
    """Return the seconds of each work in each round, after one round of warming up."""
    return [tuple(map(seconds, works)) for _ in range(rounds + 1)][1:]


def times_as_fast(ours: Work, other: Work, rounds: int = 7) -> Ratio:
    """Return the other's time over ours, taken in turn."""
    return Ratio(tuple(b / a for a, b in in_turn(ours, other, rounds=rounds)))


def share(part: Work, whole: Work, rounds: int = 7) -> Ratio:
    """Return the part's time over that of the whole, likewise."""
    return Ratio(tuple(100 * value for value in times_as_fast(whole, part, rounds).values), " %")
