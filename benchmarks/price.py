"""What a row costs: sizes, and speed where the measure `cost` was taken of one of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.measure import ALONE, file_of
from benchmarks.summaries.cost import summarize
from zoo.pooling import Run

MILLION_SECONDS = 30e6  # of a million tracks of 30 s

TITLES = {  # of the columns of a table: name, and how it is written
    "parameters": ("parameters", "{:,.0f}"),
    "macs": ("GMACs per 10 s", "{:.3g}"),
    "latency_ms": ("ms a clip", "{:.3g}"),
    "real_time": ("times real time", "{:,.0f}"),
    "train_minutes": ("minutes of training", "{:.1f}"),
}


@dataclass(frozen=True)
class Price:
    """The figures that tables show; NaN where they were not measured."""

    parameters: float
    train_minutes: float  # of a run, the median
    macs: float = np.nan  # 10⁹ multiply-accumulates of 10 s of audio
    latency_ms: float = np.nan  # of one clip, the median
    real_time: float = np.nan  # seconds of audio scored in a second, decoded beforehand
    million_hours: float = np.nan  # to decode and score a million tracks of 30 s, one after another
    device: str = ""

    def __str__(self) -> str:
        """Say it in words."""
        words = f"{self.parameters:,.0f} parameters, {self.train_minutes:.1f} minutes of training"
        if np.isfinite(self.real_time):
            words += f", scores audio {self.real_time:,.0f} times as fast as it plays; a million "
            words += f"tracks of 30 s take {self.million_hours:,.0f} hours ({self.device})"
        return words


def cheapest(prices: Sequence[Price]) -> int:
    """Return the place of the lowest price: by the time to score audio where all were measured on
    the same device, else by size."""
    by_time = all(np.isfinite(price.real_time) for price in prices)
    by_time = by_time and len({price.device for price in prices}) == 1
    costs = [-price.real_time if by_time else price.parameters for price in prices]
    return int(np.argmin(costs))


def price_of(runs: Sequence[Run], device: str | None = None) -> Price:
    """Return the price of a recipe from its runs, by the first that was measured: on the `device`
    ("cpu", or "gpu" for any), or on the one named last, which is a GPU where there was one."""
    costs = [run.result.costs for run in runs]
    minutes = float(np.median([c.wall_seconds for c in costs])) / 60
    for run in runs:
        if not file_of(run.folder, ALONE).exists():
            continue
        table = summarize(run.folder, run.result)
        if device is not None:
            table = table[(table["what"] == "cpu") == (device == "cpu")]
        if len(table):
            return _measured(table, minutes)
    return Price(costs[0].parameters, minutes)


def _measured(table: pd.DataFrame, minutes: float) -> Price:
    name = table["what"].iloc[-1]
    figures = table[table["what"] == name].set_index("figure")["value"]
    threads = int(table["threads"].iloc[-1])
    return Price(
        figures["parameters"],
        minutes,
        figures["macs"] / 1e9,
        figures["latency_ms"],
        figures["real_time"],
        MILLION_SECONDS / figures["real_time_with_decoding"] / 3600,
        f"{name}, {threads} thread{'s' * (threads > 1)}",
    )
