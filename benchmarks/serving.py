"""`python -m benchmarks.serving`: the server under load, and beside one that takes turns.

The other is what one would write with FastAPI and librosa (`benchmarks.serving_plain`), under the
same load: so many clients that each send a song, read the answer, and send the next. Prints median
(lowest to highest) over the rounds, and exits with 1 if something asked for is missed.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import requests
import soundfile
import torch

from benchmarks import serving_hostile
from benchmarks.serving_load import Load, Loading, memory, settle
from benchmarks.speed import Measured
from benchmarks.speed_data import KINDS, write_tracks
from benchmarks.timing import Ratio
from zoo import create_model, runtime
from zoo.errors import guard
from zoo.out import check_out, write_out

CNNS = ("short_chunk_cnn", "fcn", "musicnn")
KIND = "MP3, 44.1 kHz, stereo"
ONE = 3  # times shorter is the turn of a single client: it fills no queue
MINUTE = 60  # seconds
SETTLED, LAST = 15, 5  # seconds: when memory is first taken, and over how long
MOST_GROWTH = 5  # percent of memory in the rest of a minute
NOISE = 0.001  # of full scale: above the rounding to 16 bits, which models hear in silence
MOST_OFF = 0.02  # between probabilities of both servers


class Server(NamedTuple):
    """A process that serves a model, and where it keeps what is temporary."""

    process: psutil.Process
    port: int
    folder: Path

    def load(self, clients: int, seconds: float, files: Sequence[Path]) -> Load:
        """Return what comes of so many clients; what they leave behind is finished, too."""
        load = Loading(self.port, clients, seconds, files).result()
        settle(self.process)
        return load

    def probabilities(self, file: Path) -> dict[str, float]:
        """Return its answer."""
        with file.open("rb") as stream:
            reply = requests.post(
                f"http://127.0.0.1:{self.port}/v1/classify", files={"file": stream}, timeout=MINUTE
            )
        reply.raise_for_status()
        return reply.json()["probabilities"]

    def batches(self) -> tuple[float, float]:
        """Return how many batches there were until now, and how many clips in them."""
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=MINUTE).text
        names = ("count", "sum")
        found = [re.search(rf"^genre_zoo_batch_clips_{n}\{{.*\}} (.*)$", text, re.M) for n in names]
        number, clips = (float(match[1]) for match in found if match)
        return number, clips


@contextmanager
def serving(module: str, model: Path) -> Iterator[Server]:
    """Start a server, and stop it at the end."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", module, str(model), "--port", "0"]
        environment = os.environ | {"TMPDIR": name}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                assert process.stdout
                line = process.stdout.readline()
                found = re.search(r"127\.0\.0\.1:(\d+)", line)
                if not found:
                    raise RuntimeError(f"{module} does not start; its error is above")
                yield Server(psutil.Process(process.pid), int(found[1]), Path(name))
            finally:
                process.terminate()


def write_model(name: str, folder: Path) -> Path:
    """Write a model that nobody has trained; it has seen noise, so that its answers differ."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=8).train()
    with torch.no_grad():
        for level in np.geomspace(0.01, 1, 20):  # statistics for batch normalization
            model(float(level) * torch.randn(4, 4 * model.sample_rate))
    model.eval().save_pretrained(folder / name)
    return folder / name


def write_songs(folder: Path, num_seconds: float) -> list[Path]:
    """Write songs such as users send: none is without noise, as synthetic ones are."""
    files, random = write_tracks(folder, 8, *KINDS[KIND]), np.random.default_rng(0)
    for file in files:
        samples, rate = soundfile.read(file)
        samples = samples[: round(num_seconds * rate)]
        soundfile.write(file, samples + NOISE * random.standard_normal(samples.shape), rate)
    return files


def measure(name: str, options: argparse.Namespace, files: Sequence[Path]) -> Iterator[Measured]:
    """Yield what there is to say of a model."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = write_model(name, folder)
        plain = stack.enter_context(serving("benchmarks.serving_plain", model))
        ours = stack.enter_context(serving("zoo.serve", model))
        off = farthest(ours, plain, files)
        what = f"{name}: probabilities of both servers, at most apart"
        yield Measured(what, f"{off:.2g}", f"< {MOST_OFF}", off < MOST_OFF)
        yield from throughput(name, ours, plain, options, files)
        if options.minute:
            yield from minute(name, ours, plain, options.clients, files)
        if options.hostile and name == options.models[0]:
            yield from serving_hostile.uploads(*ours, files[0])
            yield from serving_hostile.kills(ours.process, ours.port, files)


def farthest(ours: Server, plain: Server, files: Sequence[Path]) -> float:
    """Return how far their probabilities are apart at most."""
    pairs = [(ours.probabilities(file), plain.probabilities(file)) for file in files]
    return max(abs(a[genre] - b[genre]) for a, b in pairs for genre in a)


def throughput(
    name: str, ours: Server, plain: Server, options: argparse.Namespace, files: Sequence[Path]
) -> Iterator[Measured]:
    """Yield ratios of throughput: against the plain server, and against one client of ours."""
    many, window = options.clients, options.window
    loads = [(ours, many, window), (plain, many, window), (ours, 1, window / ONE)]
    rounds = [
        [server.load(clients, seconds, files).throughput for server, clients, seconds in loads]
        for _ in range(options.rounds)
    ]
    against_plain = Ratio(tuple(a / b for a, b, _ in rounds))
    against_one = Ratio(tuple(a / b for a, _, b in rounds))
    least = 3.0 if name in CNNS else 0.0
    what = f"{name}: throughput with {many} clients / plain server's with as many"
    yield Measured(
        what, str(against_plain), f">= {least:g}" * (least > 0), against_plain.median >= least
    )
    what = f"{name}: the same / our server's with one client"
    yield Measured(what, str(against_one), "", True)


def minute(
    name: str, ours: Server, plain: Server, clients: int, files: Sequence[Path]
) -> Iterator[Measured]:
    """Yield what a minute of load does to our server, beside the plain one."""
    number, clips = ours.batches()
    load, used = watched(ours, clients, files)
    number, clips = (b - a for a, b in zip((number, clips), ours.batches(), strict=True))
    other = plain.load(clients, MINUTE, files)
    what = f"{name}: {clients} clients for {MINUTE} s: "
    yield Measured(f"{what}requests", answered(load), "0 fail", not load.num_failed)
    early = median(mb for at, mb in used if SETTLED <= at < SETTLED + LAST)
    late = median(mb for at, mb in used if at >= MINUTE - LAST)
    growth = 100 * (late / early - 1)
    figure = f"{growth:+.1f} % ({late - early:+.0f} of {early:.0f} MB)"
    yield Measured(f"{what}memory", figure, f"< {MOST_GROWTH} %", growth < MOST_GROWTH)
    yield Measured(f"{what}clips in a batch, on average", f"{clips / number:.1f}", "", True)
    waits = (("its last try", load.p95, "< 1"), ("the first try", load.p95_of_waits, ""))
    for tries, p95, asked in waits:
        what = f"{name}: p95 of the time from {tries} to the answer / plain server's"
        figure = f"{p95 / other.p95_of_waits:.2g} ({p95:.1f} s / {other.p95_of_waits:.1f} s)"
        yield Measured(what, figure, asked, not asked or p95 < other.p95_of_waits)


def watched(
    server: Server, clients: int, files: Sequence[Path]
) -> tuple[Load, list[tuple[float, float]]]:
    """Return what comes of a minute of load, and the memory at seconds of it."""
    loading, start, used = Loading(server.port, clients, MINUTE, files), time.monotonic(), []
    while (at := time.monotonic() - start) < MINUTE:
        used.append((at, memory(server.process)))
        time.sleep(0.5)
    load = loading.result()
    settle(server.process)
    return load, used


def answered(load: Load) -> str:
    """Return in words what came of requests."""
    said = ", ".join(f"{n} x {status}" for status, n in sorted(load.statuses.items()))
    kinds = sorted(set(load.errors))
    return f"{said}, {len(load.errors)} errors" + f" ({'; '.join(kinds[:3])})" * bool(kinds)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    add, flag = parser.add_argument, argparse.BooleanOptionalAction
    add("--models", nargs="+", default=list(CNNS), metavar="NAME", help="(default: %(default)s)")
    add("--clients", type=int, default=200, help="at once (default: 200)")
    add("--seconds", type=float, default=30, help="of a song (default: 30, which is the most)")
    add("--rounds", type=int, default=3, help="in which servers take turns (default: 3)")
    add("--window", type=float, default=30, help="seconds of a turn (default: 30)")
    add("--minute", action=flag, default=True, help="load each for a minute, too")
    add("--hostile", action=flag, default=True, help="send broken audio, too, and kill decoders")
    add("--out", type=Path, metavar="FILE.md", help="write the table there too")
    options = parser.parse_args(arguments)
    check_out(options.out, [".md"])
    if options.hostile:
        serving_hostile.check_corpus()
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    device = runtime.device_name(runtime.processes().device)
    title = (
        f"{device}, {runtime.processor()}, {os.cpu_count()} cores, songs of {options.seconds:g} s"
    )
    print(title, flush=True)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_songs(Path(folder), options.seconds)
        for name in options.models:
            for line in measure(name, options, files):
                asked = f", asked {line.asked}" if line.asked else ""
                print(f"{line.what}: {line.figure}{asked}", flush=True)
                lines.append(line)
    table = pd.DataFrame([line._asdict() | {"met": "yes" if line.met else "NO"} for line in lines])
    text = f"# Serving on {title}\n\n{table.to_markdown(index=False)}\n"
    print(f"\n{text}")
    if options.out:
        write_out(options.out, text.encode())
    sys.exit(0 if all(line.met for line in lines) else 1)


if __name__ == "__main__":
    guard(main)
