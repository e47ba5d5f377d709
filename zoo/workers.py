"""Decoding in processes: a file that crashes its decoder, hangs or bloats it costs itself alone.

The processes are plain ones that speak over pipes, because those of `multiprocessing` import the
user's script again, and not each script can stand that.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Event, Lock, Timer

import numpy as np

from zoo.index import Key, Samples, identity

WORKER = "zoo.decode_worker"
FILES_PER_WORKER, BYTES_PER_WORKER = 8, 2**24  # for less none pays: it takes 0.2 s to start
LARGE = 2**23  # samples, nearly 9 min at 16 kHz; results of more are fetched when it is their turn
CHANGED = "changed while it was being read"

KEEP_MEMORY = {  # for the next file, or glibc faults it in again page by page
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
}
PIPE_BYTES = 2**20  # a track of 30 s at 16 kHz without a change between processes; Linux only
MIN_LIMIT, MAX_LIMIT = 60, 3600  # seconds
SLOWEST = 1e6  # bytes a second; MP3s of 6 h at 32 kbit/s are decoded at 4e6 on one core


def time_limit(num_bytes: int) -> float:
    """Return how many seconds the decoding of a file of `num_bytes` may take."""
    return min(MIN_LIMIT + num_bytes / SLOWEST, MAX_LIMIT)


def decode_all(
    keys: list[Key], sample_rate: int, workers: int
) -> Generator[tuple[Key, Samples | str], None, None]:
    """Yield samples or the reason against, in order; up to `workers` processes decode.

    In memory are at most 4 tracks per worker of up to `LARGE` samples, and one that is longer.
    Close the iterator to end the processes at once.

    Raises:
        RuntimeError: a worker cannot start, or fails for another reason than the file.
    """
    num_bytes = sum(size for _, size, _ in keys)
    worth = max(len(keys) / FILES_PER_WORKER, num_bytes / BYTES_PER_WORKER)
    num_workers = min(workers, len(keys), math.ceil(worth))
    idle = [_Worker(sample_rate) for _ in range(num_workers)]
    hired = tuple(idle)

    def decode(key: Key, turn: Event) -> Samples | str:
        worker = idle.pop()
        try:
            return worker.decode(key, turn)
        finally:
            idle.append(worker)

    turns = ((key, Event()) for key in keys)
    pool = ThreadPoolExecutor(max(1, num_workers))
    futures = ((key, turn, pool.submit(decode, key, turn)) for key, turn in turns)
    waiting = deque(islice(futures, 4 * num_workers))
    try:
        while waiting:
            key, turn, _ = waiting[0]
            turn.set()
            yield key, waiting[0][2].result()
            waiting.popleft()
            waiting.extend(islice(futures, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in hired:
            worker.kill()
        for _, turn, _ in waiting:
            turn.set()
        pool.shutdown()
        for worker in hired:
            worker.bury()


class _CrashError(Exception):
    """The process came to an end that nobody wished."""


class _Worker:
    """A process that decodes: started when there is a file, and again after one that ended it."""

    def __init__(self, sample_rate: int) -> None:
        self._command = [sys.executable, "-P", "-m", WORKER, str(sample_rate)]
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = Lock()  # of the two above

    def decode(self, key: Key, turn: Event, again: bool = True) -> Samples | str:
        """Return samples or the reason against; more than `LARGE` samples once it is its `turn`."""
        path, size, mtime_ns = key
        try:
            result = self._ask(path, time_limit(size), turn)
        except (
            _CrashError
        ) as crash:  # perhaps of what an earlier file left behind: try in a new process
            return self.decode(key, turn, again=False) if again else str(crash)
        if isinstance(result, str) or identity(path) == (size, mtime_ns):
            return result
        return CHANGED

    def kill(self) -> None:
        """End the process, also while it decodes, and start no other."""
        with self._lock:
            self._is_closed = True
            if self._process:
                self._process.kill()

    def bury(self) -> int:
        """Wait for the process to end; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(BrokenPipeError), process:  # closes the pipes
            pass
        return process.wait()

    def _ask(self, path: str, seconds: float, turn: Event) -> Samples | str:
        process = self._start()
        assert process.stdin and process.stdout
        end = time.monotonic() + seconds
        timer = Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(path).encode() + b"\n")
            process.stdin.flush()
            reply = json.loads(process.stdout.readline() or "null")
        except BrokenPipeError:
            reply = None
        finally:
            timer.cancel()
        if reply is None:
            code = self.bury()
            if time.monotonic() >= end:
                return f"needs more than {seconds:.0f} s to decode"
            if code == 1:
                raise RuntimeError(f"{WORKER} does not start; its error is above")
            raise _CrashError(f"made the decoder crash ({_name(code)})")
        if "error" in reply:
            raise RuntimeError(f"decoding {path} failed:\n{reply['error']}")
        if "reason" in reply:
            return reply["reason"]
        samples = np.empty(reply["length"], np.int16)
        if len(samples) > LARGE:
            turn.wait()
        process.stdout.readinto(samples.data.cast("B"))  # type: ignore[attr-defined]
        return samples

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("nobody wants to know any more")
            if self._process is None:
                self._process = _launch(self._command)
            return self._process


def _launch(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that finds the modules that this one finds, and is not hit by Ctrl-C."""
    folders = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pipesize=PIPE_BYTES,
        env=os.environ | {"PYTHONPATH": folders, "OMP_NUM_THREADS": "1"} | KEEP_MEMORY,
        start_new_session=True,
    )


def _name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
