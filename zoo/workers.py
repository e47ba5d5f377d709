"""Decoding in processes: a file that crashes its decoder, hangs or bloats it costs itself alone.

The processes are plain ones that speak over pipes, because those of `multiprocessing` import the
user's script again, and not each script can stand that.
"""

import json
import math
import mmap
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock, Timer
from typing import NamedTuple

import numpy as np

from zoo.audio import MAX_SECONDS
from zoo.index import Key, Samples, identity
from zoo.store import default_cache
from zoo.stream import Tags

WORKER = "zoo.decode_worker"
FILES_PER_WORKER, BYTES_PER_WORKER = 8, 2**24  # for less none pays: it takes 0.2 s to start
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
    keys: list[Key],
    sample_rate: int,
    workers: int,
    spool: Path | None = None,
    max_seconds: float = MAX_SECONDS,
) -> Generator[tuple[Key, "Decoded | str"], None, None]:
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
    command = [sys.executable, "-P", "-m", WORKER, str(sample_rate), str(max_seconds)]
    spool = spool or default_cache() / "spool"
    idle = [_Worker(command, spool) for _ in range(num_workers)]
    hired = tuple(idle)

    def decode(key: Key) -> Decoded | str:
        worker = idle.pop()
        try:
            return worker.decode(key)
        finally:
            idle.append(worker)

    pool = ThreadPoolExecutor(max(1, num_workers))
    futures = ((key, pool.submit(decode, key)) for key in keys)
    waiting = deque(islice(futures, 4 * num_workers))
    try:
        while waiting:
            key, future = waiting.popleft()
            yield key, future.result()
            del future  # or the samples of a long file would stay on the disk
            waiting.extend(islice(futures, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in hired:
            worker.kill()
        pool.shutdown()
        for worker in hired:
            worker.bury()


class Decoded(NamedTuple):
    """What came of a file: mono int16 `[T]`, of a long one in a file that is mapped and gone."""

    samples: Samples
    tags: Tags


def release(samples_T: Samples) -> None:
    """Give back the memory that reading a long file of `decode_all` has taken; the samples stay."""
    content = getattr(samples_T.base, "obj", None)
    if isinstance(content, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


class _CrashError(Exception):
    """The process came to an end that nobody wished."""


class _Worker:
    """A process that decodes: started when there is a file, and again after one that ended it."""

    def __init__(self, command: list[str], spool: Path) -> None:
        self._command, self._spool = command, spool
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = Lock()  # of the two above

    def decode(self, key: Key, again: bool = True) -> Decoded | str:
        """Return what came of a file, or the reason against it."""
        path, size, mtime_ns = key
        spool = self._spool / f"{uuid.uuid4().hex}.tmp"
        try:
            result = self._ask(path, time_limit(size), spool)
        except (
            _CrashError
        ) as crash:  # perhaps of what an earlier file left behind: try in a new process
            return self.decode(key, again=False) if again else str(crash)
        finally:
            with suppress(OSError):  # what is mapped stays, but on Windows cannot go yet
                spool.unlink(missing_ok=True)
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

    def _ask(self, path: str, seconds: float, spool: Path) -> Decoded | str:
        process = self._start()
        assert process.stdin and process.stdout
        end = time.monotonic() + seconds
        timer = Timer(seconds, process.kill)
        timer.start()
        try:
            request = {"path": path, "spool": str(spool)}
            process.stdin.write(json.dumps(request).encode() + b"\n")
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
        tags = Tags(*reply["tags"])
        if reply["spooled"]:
            with spool.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return Decoded(np.frombuffer(content, np.int16), tags)
        samples = np.empty(reply["length"], np.int16)
        process.stdout.readinto(samples.data.cast("B"))  # type: ignore[attr-defined]
        return Decoded(samples, tags)

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
