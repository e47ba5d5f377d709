"""Speed of use: embedding a folder of MP3s, against a plain loop and against its own parts."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import contestant
from benchmarks.embedding import embed, files_in, plainly
from benchmarks.speed_data import KINDS, write_tracks
from benchmarks.timing import Ratio, in_turn
from zoo import create_model
from zoo.index import Samples, identity
from zoo.listening import listening
from zoo.runners_torch import ModelRunner
from zoo.workers import decode_all

KIND = "MP3, 44.1 kHz, stereo"
NUM_TRACKS = 48  # of 30 s
ROUNDS = 3


@contextmanager
def folder_of_mp3s() -> Iterator[list[str]]:
    """Write tracks of `synth` as MP3s, and return their names."""
    with tempfile.TemporaryDirectory() as name:
        write_tracks(Path(name), NUM_TRACKS, *KINDS[KIND])
        yield files_in(name)


def against_plain(name: str, files: list[str]) -> Ratio:
    """Return how many times as fast as `plainly` a model embeds, on all cores, each in a process of
    its own: what makes ours fast must not make the loop fast."""
    model, few = create_model(name, num_classes=8).eval(), files[:4]
    ours, plain = embed(ModelRunner(model), few), plainly(model, few)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(plain, axis=1)
    assert ((ours * plain).sum(1) / lengths).min() > 0.98, "they compute something else"
    contestants = [("embedding", name), ("looping", name)]
    times = contestant.in_turn(contestants, Path(files[0]).parent, ROUNDS)
    return Ratio(tuple(b / a for a, b in times))


def decoded(files: list[str], rate: int, workers: int) -> list[Samples]:
    """Return the files' samples, decoded as `hear` does."""
    keys = [(file, *identity(file)) for file in files]
    results = [result for _, result in decode_all(keys, rate, workers)]
    return [result.samples for result in results if not isinstance(result, str)]


def against_parts(name: str, files: list[str]) -> tuple[Ratio, Ratio]:
    """Return the speed of embedding over that of the slower of its parts alone, and the share of
    the decoder's time in that of both: one decoding process, one thread for the model, each on a
    core of its own, together and alone."""
    runner = ModelRunner(create_model(name, num_classes=8), threads=1)
    about = runner.about
    place = listening("all", about.sample_rate, about.clip_samples)
    tracks = decoded(files, about.sample_rate, 1)
    chunks = np.stack(
        [x_T[s : s + about.clip_samples] for x_T in tracks for s in place(len(x_T)).tolist()]
    )
    size = runner.batch_size
    batches = [chunks[start : start + size] for start in range(0, len(chunks), size)]
    times = in_turn(
        lambda: embed(runner, files, workers=1),
        lambda: decoded(files, about.sample_rate, 1),
        lambda: [runner.run(batch) for batch in batches],
        rounds=ROUNDS,
    )
    slower = Ratio(tuple(max(decoder, model) / both for both, decoder, model in times))
    share = Ratio(tuple(100 * d / (d + m) for _, d, m in times), " %")
    return slower, share
