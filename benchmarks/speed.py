"""`python -m benchmarks.speed [NAME ...]`: ratios of speed, each measured alternating in one run.

Prints median (lowest to highest) over the rounds beside what is asked for, and exits with 1 if a
median misses it. With --out FILE the table is also written as Markdown.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from zoo import list_models, runtime
from zoo.store import Store


class Measured(NamedTuple):
    """A line of the table."""

    what: str
    figure: str
    asked: str
    met: bool


def loop() -> Iterator[Measured]:
    """The training loop against a bare one."""
    from benchmarks import speed_training

    ratio = speed_training.loop()
    yield Measured("training loop / bare PyTorch loop", str(ratio), ">= 0.95", ratio.median >= 0.95)


def precision() -> Iterator[Measured]:
    """The default layout and precision against plain float32."""
    from benchmarks import speed_training

    native = runtime.computes_bf16(speed_training.device())
    for name in ("short_chunk_cnn", "crnn"):
        ratio = speed_training.layout_and_precision(name)
        what = f"{name}: default layout and precision / float32 NCHW"
        asked = ">= 2.0" if native else "(no native bf16 here)"
        yield Measured(what, str(ratio), asked, ratio.median >= 2.0 or not native)


def frontend() -> Iterator[Measured]:
    """The front end's share of a training step."""
    from benchmarks import speed_training

    for name in ("short_chunk_cnn", "crnn"):
        ratio = speed_training.front_end(name)
        what = f"{name}: mel's share of a training step"
        yield Measured(what, str(ratio), "< 10 %", ratio.median < 10)


def data() -> Iterator[Measured]:
    """Decoding, reading and opening."""
    from benchmarks import speed_data, speed_reading

    for kind in speed_data.KINDS:
        with speed_data.one_core():
            ratio, _ = speed_data.decoding(kind, 1, 300)
        what = f"decoding on one core / the decoder alone ({kind})"
        yield Measured(what, str(ratio), ">= 0.9", ratio.median >= 0.9)
    cores = os.cpu_count() or 1
    ratio, spent = speed_data.decoding(next(iter(speed_data.KINDS)), cores, 450)
    what = f"decoding on {cores} cores / the decoder alone on one ({spent:.0f} s of it)"
    yield Measured(what, str(ratio), f">= {0.75 * cores}", ratio.median >= 0.75 * cores)
    for suffix in ("flac", "mp3"):
        seeking, copying = speed_reading.random_chunks(suffix)
        what = f"random chunks from the store / seeking in {suffix.upper()} files"
        yield Measured(what, str(seeking), ">= 25", seeking.median >= 25)
        what = "random chunks from the store / one contiguous copy"
        yield Measured(what, str(copying), ">= 0.5", copying.median >= 0.5)
    for kind in speed_data.KINDS:
        for way, ratio in speed_reading.delivered(kind).items():
            what = f"clips a second on the device / soundfile for each ({kind}, {way})"
            is_asked = "workers" not in way
            yield Measured(what, str(ratio), ">= 30" * is_asked, ratio.median >= 30 or not is_asked)
    yield from _million()


def _million() -> Iterator[Measured]:
    from benchmarks import speed_store

    with tempfile.TemporaryDirectory() as name:
        paths = speed_store.write_sparse(Path(name), 1_000_000)
        ratio = speed_store.opening(Path(name), paths)
        yield Measured("opening a store of 1,000,000 tracks", str(ratio), "< 2 s", ratio.median < 2)
        for gigabytes in (50, 960):
            part = paths[: gigabytes * 10**9 // (2 * speed_store.LENGTH)]
            store = Store.open(Path(name), speed_store.RATE, part)
            ratio, tables = speed_store.growth(store)
            what = f"own memory while reading {gigabytes} GB (page tables: {tables:.0f} MB)"
            yield Measured(what, str(ratio), "< 10 MB", max(ratio.values) < 10)


def start() -> Iterator[Measured]:
    """How soon a command answers."""
    from benchmarks import speed_data

    beyond, torch = speed_data.start_of_help()
    what = f"zoo.train --help beyond starting Python ({'imports' if torch else 'no'} torch)"
    yield Measured(what, str(beyond), "< 1 s, no torch", beyond.median < 1 and not torch)


def models() -> Iterator[Measured]:
    """Every model, and those with a published implementation beside a plain one."""
    from benchmarks import speed_models

    native = runtime.computes_bf16(speed_models.device())
    for name in list_models():
        train, infer = speed_models.clips_per_second(name)
        yield Measured(f"{name}: clips a second in training", str(train), "", True)
        yield Measured(f"{name}: clips a second in scoring", str(infer), "", True)
        if name in speed_models.WITH_REFERENCE:
            train, infer = speed_models.against_plain(name)
            least = 2.0 if native else 1.0
            for ratio, what in ((train, "training"), (infer, "scoring")):
                yield Measured(
                    f"{name}: {what} / plain {what}",
                    str(ratio),
                    f">= {least}",
                    ratio.median >= least,
                )


def forms() -> Iterator[Measured]:
    """Whether the layout and precision that each model names are the fastest."""
    from benchmarks import speed_models

    for name in list_models():
        fastest, ratio = speed_models.fastest_form(name)
        what = f"{name}: time in the fastest form ({fastest}) / in its own"
        yield Measured(what, str(ratio), ">= 0.85", ratio.median >= 0.85)


def finetune() -> Iterator[Measured]:
    """Fine-tuning an AST against the Trainer of transformers, and the memory of LoRA."""
    from benchmarks import speed_finetune

    ratio, size = (
        speed_finetune.full(),
        "base" if runtime.processes().device.type == "cuda" else "tiny",
    )
    asked = ">= 3" if size == "base" else "(AST-base on a GPU: >= 3)"
    what = f"AST-{size}, all weights: clips a second / transformers' Trainer"
    yield Measured(what, str(ratio), asked, ratio.median >= 3 or size == "tiny")
    ratio = speed_finetune.short_whisper()
    yield Measured("whisper, clips of 10 s: training with short / without", str(ratio), "", True)
    if memory := speed_finetune.memory():
        yield Measured("memory with LoRA / with all weights learning", str(memory), "", True)


def use() -> Iterator[Measured]:
    """Embedding a folder of MP3s against a plain loop, and against its own parts."""
    from benchmarks import speed_use

    with speed_use.folder_of_mp3s() as files:
        for name in ("fcn", "short_chunk_cnn", "musicnn"):
            ratio = speed_use.against_plain(name, files)
            what = f"{name}: embedding MP3s / librosa, one track at a time, eager float32"
            yield Measured(what, str(ratio), ">= 4", ratio.median >= 4)
            ratio, share = speed_use.against_parts(name, files)
            what = f"{name}: embedding / the slower of decoder ({share} of the work) and model"
            yield Measured(what, str(ratio), ">= 0.85", ratio.median >= 0.85)


MEASURES: dict[str, Callable[[], Iterator[Measured]]] = {
    f.__name__: f for f in (loop, precision, frontend, data, start, models, forms, finetune, use)
}
LONG = ("models", "forms", "finetune", "use")  # measured when named


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(MEASURES)}; all but {' and '.join(LONG)} if none is named",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASURES):
        parser.error(f"{min(unknown)!r} is none of {', '.join(MEASURES)}")
    runtime.keep_freed_memory()
    threads = runtime.set_threads(None)
    where = f"{runtime.device_name(runtime.processes().device)}, {runtime.processor()}"
    title = f"{where}, {threads} threads of {os.cpu_count()} cores"
    print(title, flush=True)
    lines = []
    for name in options.names or [name for name in MEASURES if name not in LONG]:
        for line in MEASURES[name]():
            asked = f", asked {line.asked}" if line.asked else ""
            print(f"{line.what}: {line.figure}{asked}", flush=True)
            lines.append(line)
    table = pd.DataFrame([line._asdict() | {"met": "yes" if line.met else "NO"} for line in lines])
    print(f"\n{table.to_markdown(index=False)}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(f"# Speed on {title}\n\n{table.to_markdown(index=False)}\n")
    sys.exit(0 if all(line.met for line in lines) else 1)


if __name__ == "__main__":
    main()
