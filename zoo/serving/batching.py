"""Dynamic batching: clips of requests that wait at the same time go through the model together.

Nobody waits for a batch to be full. While one is computed others gather, so batches grow with the
load by themselves.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread

from zoo.inference import Heard, Track, gather
from zoo.runners import Outputs, Runner


@dataclass(eq=False)
class _Job:
    """A track of which some chunks may have been started."""

    track: Track
    heard: Future[Heard] = field(default_factory=Future)
    num_started: int = 0

    @property
    def num_left(self) -> int:
        return len(self.track.starts) - self.num_started

    def start(self) -> "tuple[_Job, int]":
        """Return the next chunk."""
        self.num_started += 1
        return self, self.num_started - 1


Batch = list[tuple[_Job, int]]
"""Chunks, by their numbers."""


class Batcher:
    """Runs a model for many requests, in `runner.streams` threads.

    A batch takes a chunk of the oldest track, which so comes to an end whatever follows, and is
    filled by the tracks that have the fewest left: a long one does not hold up a short one.
    """

    def __init__(self, runner: Runner, observe: Callable[[int], object]) -> None:
        """`observe` is told the size of each batch."""
        self._runner, self._observe = runner, observe
        self._waiting: list[_Job] = []  # tracks with chunks that nobody has started
        self._changed = Condition()
        self._is_closed = False
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(runner.streams)]
        for thread in self._threads:
            thread.start()

    def submit(self, track: Track) -> Future[Heard]:
        """Take a track; the future holds what is heard in it."""
        job = _Job(track)
        with self._changed:
            assert not self._is_closed
            self._waiting.append(job)
            self._changed.notify()
        return job.heard

    def close(self) -> None:
        """Finish all tracks, and end the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._observe(len(batch))
            try:
                self._hear(batch)
            except Exception as error:  # of the model, or of a disk: the threads go on
                self._fail(batch, error)
            del batch  # or an idle thread would keep what somebody sent

    def _hear(self, batch: Batch) -> None:
        chunks = [(job.track, number) for job, number in batch]
        self._share_out(batch, self._runner.run(gather(chunks, self._runner.about.clip_samples)))

    def _next(self) -> Batch:
        """Wait for chunks, and return some; none when all is done."""
        batch: Batch = []
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return []
                batch = self._take()
            if self._waiting:
                self._changed.notify()
        return batch

    def _take(self) -> Batch:
        self._waiting = [job for job in self._waiting if not job.heard.cancelled()]
        batch: Batch = [self._waiting[0].start()] if self._waiting else []
        for job in sorted(self._waiting, key=lambda job: job.num_left):
            room = self._runner.batch_size - len(batch)
            batch += [job.start() for _ in range(min(room, job.num_left))]
        self._waiting = [job for job in self._waiting if job.num_left]
        return batch

    def _share_out(self, batch: Batch, outputs: Outputs) -> None:
        complete = []
        with self._changed:
            for (job, number), prob_K, embedding_D in zip(batch, *outputs, strict=True):
                job.track.add(number, prob_K, embedding_D)
                if job.track.is_complete:
                    complete.append(job)
        for job in complete:
            if job.heard.set_running_or_notify_cancel():
                job.heard.set_result(job.track.finished())

    def _fail(self, batch: Batch, error: Exception) -> None:
        failed = {id(job): job for job, _ in batch}
        with self._changed:
            self._waiting = [job for job in self._waiting if id(job) not in failed]
            for job in failed.values():
                if not job.heard.done() and job.heard.set_running_or_notify_cancel():
                    job.heard.set_exception(error)
