"""From audio files to what a model hears in them: decoded, cut, batched and put together again.

Files are decoded in guarded processes while the model runs, in batches that go across tracks. Long
files lie on the disk, so memory does not grow with them. Imports no torch.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from zoo.audio import AUDIO_SUFFIXES
from zoo.datasets.folder import audio_files
from zoo.decoder import Decoded, release
from zoo.decoding import num_cores
from zoo.errors import InputError
from zoo.index import Key, Samples, identity
from zoo.listening import LISTEN, Place, listening
from zoo.runners import About, Outputs, Runner
from zoo.store import copy_chunk
from zoo.workers import decode_all

LONGEST = 48 * 60 * 60  # seconds of a file


class Failed(NamedTuple):
    """A file that cannot be heard; the reason reads on from its name."""

    path: str
    reason: str


@dataclass
class Heard:
    """A track, what a model makes of it, and of each of its chunks."""

    path: str
    size: int  # bytes of the file, and
    mtime_ns: int  # when it was last changed: as it was when it was read
    samples: Samples  # [T], at the model's rate
    seconds: float
    artist: str  # as the file says; empty where it does not
    title: str
    starts: np.ndarray  # of the chunks, in samples [N]
    chunk_prob_NK: np.ndarray  # float32, as the model gives them
    prob_K: np.ndarray  # float64, the mean over chunks, calibrated where the model is
    embedding_D: np.ndarray  # float32, the mean over chunks


def find_files(given: Iterable[str]) -> list[str]:
    """Return files as they are, and of folders the audio files in them and below, each once.

    Raises `InputError` for a folder without any, and for what is not there.
    """
    found: dict[str, None] = {}
    for name in given:
        path = Path(name).expanduser()
        if not os.path.lexists(path):
            raise InputError(f"{name} does not exist; give audio files, and folders of them.")
        if not path.is_dir():
            found[str(path)] = None
            continue
        files = audio_files(path)
        if not files:
            kinds = " ".join(sorted(AUDIO_SUFFIXES))
            raise InputError(f"{name} has no audio file in it (looked for {kinds}).")
        found |= dict.fromkeys(map(str, files))
    return list(found)


def hear(
    runner: Runner,
    paths: Sequence[str],
    listen: str = "all",
    workers: int | None = None,
    progress: str = "",
) -> Iterator[Heard | Failed]:
    """Yield what the model hears in each file, or why it cannot, in the order of the paths.

    `listen` is of `zoo.listening.LISTEN`; `workers` processes decode, by default one a core.
    """
    about = runner.about
    assert listen in LISTEN
    place = listening(listen, about.sample_rate, about.clip_samples)
    return hear_at(runner, paths, place, workers, progress)


def hear_at(
    runner: Runner,
    paths: Sequence[str],
    place: Place,
    workers: int | None = None,
    progress: str = "",
) -> Iterator[Heard | Failed]:
    """Yield likewise what is heard in the chunks that `place` chooses."""
    keys = [(str(Path(path).absolute()), *identity(path)) for path in paths]
    rate, count = runner.about.sample_rate, workers or num_cores()
    is_hidden = None if progress else True  # None: where there is no terminal
    bar = tqdm(desc=progress, total=len(paths), unit="track", leave=False, disable=is_hidden)
    with closing(decode_all(keys, rate, count, max_seconds=LONGEST)) as decoded, bar:
        results = ((path, key, result) for path, (key, result) in zip(paths, decoded, strict=True))
        for heard in _in_order(runner, results, place):
            bar.update()
            yield heard


def _in_order(
    runner: Runner, results: Iterable[tuple[str, Key, Decoded | str]], place: Place
) -> Iterator[Heard | Failed]:
    """Yield the tracks in their order, each as soon as all of its chunks have been heard."""
    waiting: deque[Track | Failed] = deque()
    with ThreadPoolExecutor(runner.streams) as pool:
        batches = _Batches(runner, pool)
        for path, key, result in results:
            if isinstance(result, str):
                waiting.append(Failed(path, result))
            else:
                track = Track(path, key, result, place(len(result.samples)), runner.about)
                waiting.append(track)
                batches.add(track)
            while waiting and (isinstance(waiting[0], Failed) or waiting[0].is_complete):
                yield _finished(waiting.popleft())
        batches.finish()
    while waiting:
        yield _finished(waiting.popleft())


class Track:
    """A track of which not all chunks have been heard yet."""

    def __init__(
        self, path: str, key: Key, decoded: Decoded, starts: np.ndarray, about: About
    ) -> None:
        """`starts` are those of its chunks, in samples `[N]`."""
        self.path, self.starts = path, starts
        _, self._size, self._mtime_ns = key
        self.samples, self._tags = decoded
        self._about = about
        self._num_heard = 0  # chunks
        self._prob_NK = np.empty((len(starts), len(about.classes)), np.float32)
        self._sum_D = np.zeros(about.num_features)  # of the embeddings

    def add(self, number: int, prob_K: np.ndarray, embedding_D: np.ndarray) -> None:
        """Take what a chunk gives; copied, as rows of batches would hold the batches in memory."""
        self._prob_NK[number] = prob_K
        self._sum_D += embedding_D
        self._num_heard += 1

    @property
    def is_complete(self) -> bool:
        """Whether all chunks have been heard."""
        return self._num_heard == len(self.starts)

    def finished(self) -> Heard:
        """Return what is heard in a track that is complete."""
        mean_K = self._prob_NK.mean(0, dtype=np.float64)
        return Heard(
            path=self.path,
            size=self._size,
            mtime_ns=self._mtime_ns,
            samples=self.samples,
            seconds=len(self.samples) / self._about.sample_rate,
            artist=self._tags.artist,
            title=self._tags.title,
            starts=self.starts,
            chunk_prob_NK=self._prob_NK,
            prob_K=self._about.calibrate(mean_K[None])[0],
            embedding_D=(self._sum_D / len(self.starts)).astype(np.float32),
        )


Chunk = tuple[Track, int]
"""A chunk of a track, by its number."""


def gather(chunks: Sequence[Chunk], clip: int) -> np.ndarray:
    """Return the samples of chunks of `clip` samples `[B,T]`."""
    samples_BT = np.empty((len(chunks), clip), np.int16)
    for (track, number), samples_T in zip(chunks, samples_BT, strict=True):
        copy_chunk(track.samples, int(track.starts[number]), samples_T)
        release(track.samples)
    return samples_BT


class _Batches:
    """Chunks on their way through the model, in batches that go across tracks, several at once."""

    def __init__(self, runner: Runner, pool: ThreadPoolExecutor) -> None:
        self._runner, self._pool = runner, pool
        self._waiting: deque[Chunk] = deque()
        self._running: deque[tuple[list[Chunk], Future[Outputs]]] = deque()

    def add(self, track: Track) -> None:
        """Take a track; run what batches are full, and collect what is done."""
        self._waiting.extend((track, number) for number in range(len(track.starts)))
        while len(self._waiting) >= self._runner.batch_size:
            self._start()
        while self._running and self._running[0][1].done():
            self._collect()

    def finish(self) -> None:
        """Run all the rest."""
        while self._waiting:
            self._start()
        while self._running:
            self._collect()

    def _start(self) -> None:
        if len(self._running) > self._runner.streams:  # one is ready when another ends
            self._collect()
        size = min(self._runner.batch_size, len(self._waiting))
        batch = [self._waiting.popleft() for _ in range(size)]
        samples = gather(batch, self._runner.about.clip_samples)
        self._running.append((batch, self._pool.submit(self._runner.run, samples)))

    def _collect(self) -> None:
        batch, future = self._running.popleft()
        for (track, number), prob_K, embedding_D in zip(batch, *future.result(), strict=True):
            track.add(number, prob_K, embedding_D)


def _finished(track: Track | Failed) -> Heard | Failed:
    return track if isinstance(track, Failed) else track.finished()
