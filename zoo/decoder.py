"""A process that decodes: a file that crashes it, hangs or bloats it costs itself alone.

It is a plain one that speaks over pipes, because those of `multiprocessing` import the user's
script again, and not each script can stand that.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from typing import NamedTuple

import numpy as np

from zoo.index import Key, Samples, identity
from zoo.stream import Tags

FILES_PER_PROCESS = 1000  # then a new one starts: what libraries leak does not add up
CHANGED = "changed while it was being read"

KEEP_MEMORY = {  # for the next file, or glibc faults it in again page by page
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
}
PIPE_BYTES = 2**20  # a track of 30 s at 16 kHz without a change between processes; Linux only


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


class Decoder:
    """A process that decodes: started when there is a file, and again after one that ended it."""

    def __init__(self, command: list[str], spool: Path, limit: Callable[[int], float]) -> None:
        self._command, self._spool, self._limit = command, spool, limit
        self.num_started = 0  # processes
        self._num_files = 0  # that the process has been given
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = Lock()  # of the two above

    def decode(self, key: Key, again: bool = True) -> Decoded | str:
        """Return what came of a file, or the reason against it."""
        path, size, mtime_ns = key
        spool = self._spool / f"{uuid.uuid4().hex}.tmp"
        try:
            result = self._ask(path, self._limit(size), spool)
        except _CrashError as crash:  # perhaps of what an earlier file left behind: try anew
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
        process, self._process, self._num_files = self._process, None, 0
        if process is None:
            return 0
        with suppress(BrokenPipeError), process:  # closes the pipes
            pass
        return process.wait()

    def _ask(self, path: str, seconds: float, spool: Path) -> Decoded | str:
        if self._num_files == FILES_PER_PROCESS:
            self.bury()
        process = self._start()
        self._num_files += 1
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
                raise RuntimeError(f"{self._command[-3]} does not start; its error is above")
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
        got = process.stdout.readinto(samples.data.cast("B"))  # type: ignore[attr-defined]
        if got != samples.nbytes:
            raise _CrashError(f"made the decoder crash ({_name(self.bury())})")
        return Decoded(samples, tags)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("nobody wants to know any more")
            if self._process is None:
                self._process = _launch(self._command)
                self.num_started += 1
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
