"""What `cost` amounts to: sizes, operations, memory, and medians of what was timed.

`what` is the device; `repeats` says how many times it was timed, `batch` at how many clips (or
tracks) at once. Speeds are of the threads that the run had, see `threads`; there are no intervals,
since repetitions on one machine say little of another: `busy` says how quiet it was.

figure                        what
parameters                    of the model, front end included
disk                          bytes of the model's folder; of adapters, without their base
macs                          multiply-accumulates of scoring 10 s in chunks that cover them
front_end_macs                of these, the front end's
fft_flops                     operations of Fourier transforms, which are not in `macs`
memory_base                   bytes of the process before there is a model: libraries, mostly
memory_scoring                peak beyond that, scoring one clip, model included; on a GPU that of
memory_training               what torch allocated; the same, training at the run's batch size
training_clips_per_second     of the run's own recipe and batch size
latency_ms, latency_95_ms     median and 95th percentile of scoring one decoded clip
clips_per_second              of scoring with the best size of batch, which is `batch`
real_time                     seconds of audio scored in a second, from decoded samples
real_time_with_decoding       the same from audio files (in memory), decoded by one core
busy                          share of the machine's cores that other processes took, 0 to 1
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.measure import read
from zoo.results import Result

AS_THEY_ARE = (
    *("parameters", "disk", "macs", "front_end_macs", "fft_flops", "busy"),
    *("memory_base", "memory_scoring", "memory_training"),
)


class Row(NamedTuple):
    """What was made of several measurements."""

    figure: str
    value: float
    unit: str
    batch: int
    repeats: int


def summarize(folder: Path, result: Result) -> pd.DataFrame:
    """Return a row for each device and figure."""
    measured = read(folder, "cost")
    tables = [_of_device(str(name), part) for name, part in measured.groupby("device", sort=False)]
    return pd.concat(tables, ignore_index=True)


def _of_device(device: str, table: pd.DataFrame) -> pd.DataFrame:
    plain = table[table["figure"].isin(AS_THEY_ARE)].assign(repeats=1)[[*Row._fields]]
    summary = pd.concat([plain, pd.DataFrame(_speeds(table))], ignore_index=True)
    is_of_tracks = summary["figure"].str.startswith("real_time")
    return summary.assign(
        what=device,
        low=np.nan,
        high=np.nan,
        num_tracks=summary["batch"].where(is_of_tracks, 0),
        **table[["processor", "threads", "precision"]].iloc[0],
    )


def _speeds(table: pd.DataFrame) -> Iterator[Row]:
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    columns = (table[name].tolist() for name in ("figure", "batch", "value"))
    for figure, batch, value in zip(*columns, strict=True):
        values[figure, batch].append(value)
    median = {key: float(np.median(taken)) for key, taken in values.items()}
    sizes = {figure: [b for name, b in values if name == figure] for figure, _ in values}
    (clips,), (tracks,) = sizes["training"], sizes["audio"]

    step = "training", clips
    yield Row("training_clips_per_second", clips / median[step], "1/s", clips, len(values[step]))
    single = values["scoring", 1]
    yield Row("latency_ms", 1000 * median["scoring", 1], "ms", 1, len(single))
    yield Row("latency_95_ms", 1000 * float(np.quantile(single, 0.95)), "ms", 1, len(single))
    best = max(sizes["scoring"], key=lambda b: b / median["scoring", b])
    speed, repeats = best / median["scoring", best], len(values["scoring", best])
    yield Row("clips_per_second", speed, "1/s", best, repeats)

    audio, scoring = median["audio", tracks], median["scoring_tracks", tracks]
    both, repeats = (
        scoring + median["decoding_tracks", tracks],
        len(values["scoring_tracks", tracks]),
    )
    yield Row("real_time", audio / scoring, "s/s", tracks, repeats)
    yield Row("real_time_with_decoding", audio / both, "s/s", tracks, repeats)
