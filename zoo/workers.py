"""Decoding in processes, several at once."""

import math
import sys
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

from zoo.audio import MAX_SECONDS
from zoo.decoder import Decoded, Decoder
from zoo.index import Key
from zoo.store import default_cache

WORKER = "zoo.decode_worker"
FILES_PER_WORKER, BYTES_PER_WORKER = 8, 2**24  # for less none pays: it takes 0.2 s to start
MIN_LIMIT, MAX_LIMIT = 60, 3600  # seconds
SLOWEST = 1e6  # bytes a second; MP3s of 6 h at 32 kbit/s are decoded at 4e6 on one core


def time_limit(num_bytes: int) -> float:
    """Return how many seconds the decoding of a file of `num_bytes` may take."""
    return min(MIN_LIMIT + num_bytes / SLOWEST, MAX_LIMIT)


class Decoders:
    """Processes that decode what is submitted, at most `workers` files at once.

    They start when there is a file for them. `spool`, `max_seconds` and errors as in `decode_all`;
    `limit` gives the seconds that a file of so many bytes may take.
    """

    def __init__(
        self,
        sample_rate: int,
        workers: int,
        spool: Path | None = None,
        max_seconds: float = MAX_SECONDS,
        limit: Callable[[int], float] | None = None,
    ) -> None:
        command = [sys.executable, "-P", "-m", WORKER, str(sample_rate), str(max_seconds)]
        spool = spool or default_cache() / "spool"
        self._workers = tuple(Decoder(command, spool, limit or time_limit) for _ in range(workers))
        self._idle = list(self._workers)
        self._pool = ThreadPoolExecutor(max(1, workers))

    def submit(self, key: Key) -> Future[Decoded | str]:
        """Return the future of what comes of a file, or of the reason against it."""
        return self._pool.submit(self._decode, key)

    @property
    def num_started(self) -> int:
        """How many processes have been started until now."""
        return sum(worker.num_started for worker in self._workers)

    def close(self) -> None:
        """End the processes at once; what they were at comes to nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self._pool.shutdown()
        for worker in self._workers:
            worker.bury()

    def _decode(self, key: Key) -> Decoded | str:
        worker = self._idle.pop()
        try:
            return worker.decode(key)
        finally:
            self._idle.append(worker)


def decode_all(
    keys: list[Key],
    sample_rate: int,
    workers: int,
    spool: Path | None = None,
    max_seconds: float = MAX_SECONDS,
) -> Generator[tuple[Key, Decoded | str], None, None]:
    """Yield what came of each file or the reason against it, in order; up to `workers` processes
    decode.

    In memory are at most 4 tracks per worker of up to `zoo.decode_worker.LARGE` samples; longer
    ones are on the disk, in the folder `spool` (by default of the cache), until nobody has them any
    more. Close the iterator to end the processes at once.

    Raises:
        RuntimeError: a worker cannot start, or fails for another reason than the file.
    """
    num_bytes = sum(size for _, size, _ in keys)
    worth = max(len(keys) / FILES_PER_WORKER, num_bytes / BYTES_PER_WORKER)
    num_workers = min(workers, len(keys), math.ceil(worth))
    with closing(Decoders(sample_rate, num_workers, spool, max_seconds)) as decoders:
        futures = ((key, decoders.submit(key)) for key in keys)
        waiting = deque(islice(futures, 4 * num_workers))
        while waiting:
            key, future = waiting.popleft()
            yield key, future.result()
            del future  # or the samples of a long file would stay on the disk
            waiting.extend(islice(futures, 1))
