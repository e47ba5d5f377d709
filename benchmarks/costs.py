"""`python -m benchmarks.costs RUN FILE`: what a run's model takes on the device of this process.

Written to FILE (Parquet) as a row a measurement: `figure`, `batch` (clips, or tracks), `value`,
`unit`, and where it was measured. `benchmarks.measures.cost` starts it once for each device, in a
process of its own, since the peak of memory is that of a process.
"""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import torch

from benchmarks.measure import write
from benchmarks.operations import count
from benchmarks.timing import Work, seconds
from zoo import runtime
from zoo.audio import decode
from zoo.chunks import EVALUATIONS, num_chunks
from zoo.errors import guard
from zoo.finetune import PROBES, adapt
from zoo.model import GenreModel, find_model
from zoo.opened import Opened, open_run
from zoo.scores import chunk_length, score_tracks, to_waveform
from zoo.trainer import Trainer

AUDIO_SECONDS = 10.0  # that operations are counted for
BATCHES = (2, 4, 8, 16, 32, 64)  # clips scored at once, beside one
MOST_TRACKS = 16  # decoded and scored
LATENCY_SECONDS, LATENCIES = 6.0, 200  # whatever is reached first
TRAINING_SECONDS, STEPS = 8.0, 50
BATCH_SECONDS, ROUNDS = 0.7, 20  # of each size of batch
MOST_SECONDS = 12.0  # for all sizes of batches together
TRACKS_SECONDS = 4.0


class Row(NamedTuple):
    """A measurement."""

    figure: str
    value: float
    unit: str
    batch: int = 0  # clips, or tracks, that it is of


class Memory:
    """The peak of memory beyond what the process takes before there is a model; on a GPU, the peak
    of what torch allocates."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.base = 0 if device.type == "cuda" else psutil.Process().memory_info().rss  # bytes

    def peak(self) -> int:
        """Return the bytes."""
        return max(0, runtime.peak_memory(self.device) - self.base)


class Others:
    """What other processes take of the machine's cores meanwhile."""

    def __init__(self) -> None:
        self.before = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        idle = ("idle", "iowait", "guest", "guest_nice")  # guests are counted as user, too
        times = psutil.cpu_times()._asdict()
        used = sum(value for name, value in times.items() if name not in idle)
        return time.monotonic(), used, time.process_time()

    def share(self) -> float:
        """Return their share of all cores since this was made, 0 to 1."""
        wall, used, own = np.subtract(self._now(), self.before)
        return float(np.clip((used - own) / (wall * (psutil.cpu_count() or 1)), 0, 1))


def times(work: Work, most_seconds: float, most: int) -> list[float]:
    """Return the seconds of each of several calls, after one to warm up: until they took
    `most_seconds`, or `most` times. A warm-up that takes longer than that is all."""
    first = seconds(work)
    if first > most_seconds:
        return [first]
    taken = [seconds(work)]
    while sum(taken) < most_seconds and len(taken) < most:
        taken.append(seconds(work))
    return taken


def scoring(run: Opened, model: GenreModel, batch: int) -> Work:
    """Return what scoring a batch of clips takes, from decoded samples to probabilities."""
    random = np.random.default_rng(0)
    samples_BT = random.integers(-9000, 9000, (batch, chunk_length(model)), dtype=np.int16)

    @torch.inference_mode()
    def work() -> None:
        x_BT = to_waveform(samples_BT, run.accelerator.device)
        with run.accelerator.autocast():
            logits_BK = model(x_BT)
        model.probabilities(logits_BK).cpu()

    return work


def training_step(run: Opened, model: GenreModel) -> Work:
    """Return what a step of the run's training takes, or of its embedding for a head on embeddings;
    the model is changed by it."""
    if run.config.finetune.name in PROBES:
        return scoring(run, model, run.config.batch_size)
    adapt(model, run.config)
    trainer = Trainer(run.config, model, run.data, run.accelerator, run.folder, time.monotonic())
    trainer.model.train()
    numbers = itertools.count()
    return lambda: trainer.step(0, next(numbers) % trainer.chunks.steps_per_epoch)


def load(run: Opened) -> GenreModel:
    """Return the run's model anew."""
    return GenreModel.from_pretrained(run.folder).to(run.accelerator.device)


def memory_and_training(run: Opened) -> Iterator[Row]:
    """Yield seconds of single clips and of training steps, and the peaks of memory of both."""
    assert len(run.data.store)  # opened before memory counts
    memory = Memory(run.accelerator.device)
    yield Row("memory_base", memory.base, "bytes")
    model = load(run)
    taken = times(scoring(run, model, 1), LATENCY_SECONDS, LATENCIES)
    yield from (Row("scoring", value, "s", 1) for value in taken)
    yield Row("memory_scoring", memory.peak(), "bytes", 1)
    taken, batch = (
        times(training_step(run, model), TRAINING_SECONDS, STEPS),
        run.config.batch_size,
    )
    yield from (Row("training", value, "s", batch) for value in taken)
    yield Row("memory_training", memory.peak(), "bytes", batch)


def batches(run: Opened, model: GenreModel) -> Iterator[Row]:
    """Yield the seconds of batches, up to the size that time or a GPU's memory allows."""
    started, last = time.monotonic(), 0.0
    for batch in BATCHES:
        if time.monotonic() - started + 2 * last > MOST_SECONDS:
            return
        try:
            taken = times(scoring(run, model, batch), BATCH_SECONDS, ROUNDS)
        except torch.OutOfMemoryError:
            return
        last = 2 * max(taken)  # with the warming up
        yield from (Row("scoring", value, "s", batch) for value in taken)


def whole_tracks(run: Opened, model: GenreModel) -> Iterator[Row]:
    """Yield what it takes to decode, and to score, some of the test tracks as the run did."""
    data, test, length = run.data, run.data.rows("test"), chunk_length(model)
    per_clip = min(times(scoring(run, model, 1), 0.0, 1))
    clips = len(EVALUATIONS[run.config.evaluation](data.store.lengths[test], length)[0]) / len(test)
    most = int(np.clip(TRACKS_SECONDS / (per_clip * clips), 1, min(MOST_TRACKS, len(test))))
    rows = test[np.linspace(0, len(test) - 1, most).astype(int)]
    paths = data.manifest.frame["path"][rows].tolist()

    def decoding() -> None:
        for path in paths:
            decode(path, model.sample_rate)

    def scores() -> None:
        score_tracks(model, data, rows, run.accelerator, run.config)

    audio = data.store.lengths[rows].sum() / data.store.sample_rate
    yield Row("audio", audio, "s", most)
    for figure, work in {"decoding_tracks": decoding, "scoring_tracks": scores}.items():
        yield from (Row(figure, value, "s", most) for value in times(work, TRACKS_SECONDS, 5))


def sizes(run: Opened, model: GenreModel) -> Iterator[Row]:
    """Yield numbers of parameters, bytes and operations."""
    files = [file for file in find_model(run.folder).rglob("*") if file.is_file()]
    yield Row("parameters", sum(p.numel() for p in model.parameters()), "")
    yield Row("disk", sum(file.stat().st_size for file in files), "bytes")
    length = chunk_length(model)
    x_BT = torch.randn(1, length, device=run.accelerator.device) / 10
    chunks = int(num_chunks(np.array([round(AUDIO_SECONDS * model.sample_rate)]), length)[0])
    operations = count(model, x_BT)._asdict()
    yield from (Row(name, chunks * number, "", chunks) for name, number in operations.items())


def costs(run: Opened) -> pd.DataFrame:
    """Return a row for each measurement of a run's model on the device that it was opened on."""
    others = Others()
    rows = [*memory_and_training(run)]
    model = load(run)
    rows += [*batches(run, model), *whole_tracks(run, model), *sizes(run, model)]
    rows.append(Row("busy", others.share(), ""))
    device, precision = run.accelerator.device, run.accelerator.mixed_precision
    return pd.DataFrame(rows).assign(
        device=runtime.device_name(device),
        processor=runtime.processor(),
        threads=torch.get_num_threads(),
        precision="fp32" if precision == "no" else precision,
    )


def main() -> None:
    """Run the command."""
    run, file = map(Path, sys.argv[1:])
    write(file, costs(open_run(run)))


if __name__ == "__main__":
    guard(main)
