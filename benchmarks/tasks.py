"""A command in a process of its own, which fills a folder: locked while it runs, logged beside."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOG = "log.txt"
LOCK = ".lock"
TAIL = 5  # lines of a log that say why a command failed


@dataclass(frozen=True)
class Task:
    """`python -m` and its arguments; done where all of `files` are there."""

    name: str
    command: tuple[str, ...]
    folder: Path
    files: tuple[Path, ...]

    @property
    def done(self) -> bool:
        return all(file.exists() for file in self.files)


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    task: Task
    seconds: float
    code: int  # the exit code; minus the number of the signal that ended it
    reason: str = ""  # of a failure: the end of the log

    @property
    def failed(self) -> bool:
        return bool(self.code) or not self.task.done


class Processes:
    """The commands that run now, to be stopped together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._stopping = threading.Lock(), False

    def run(self, task: Task, environment: Mapping[str, str]) -> Outcome:
        """Run a task to its end, unless it is done; wait while another process is at it.

        The command inherits the lock of its folder: if we are killed it goes on alone, and who
        comes after us waits for it.
        """
        began = time.monotonic()
        if self._stopping:
            return Outcome(task, 0.0, -signal.SIGTERM, "stopped before it began")
        task.folder.mkdir(parents=True, exist_ok=True)
        with locked(task.folder / LOCK) as lock, (task.folder / LOG).open("ab") as log:
            if task.done:
                return Outcome(task, 0.0, 0)
            with self._lock:
                if self._stopping:
                    return Outcome(task, 0.0, -signal.SIGTERM, "stopped before it began")
                start = log.tell()
                process = subprocess.Popen(
                    [sys.executable, "-m", *task.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C is ours to pass on
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        outcome = Outcome(task, time.monotonic() - began, code)
        if outcome.failed:
            return Outcome(task, outcome.seconds, code, tail(task.folder / LOG, start))
        return outcome

    def stop(self) -> None:
        """Ask all to stop, as SIGTERM does (runs write a checkpoint first), and begin no more."""
        with self._lock:
            self._stopping = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)


@contextmanager
def locked(file: Path) -> Iterator[int]:
    """Hold a file's lock, which lasts as long as any process has the descriptor given."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def tail(log: Path, start: int) -> str:
    """Return the last lines of what was written to a log from a byte on."""
    with log.open("rb") as stream:
        stream.seek(start)
        text = stream.read().decode(errors="replace")
    lines = [line.rpartition("\r")[2].rstrip() for line in text.splitlines()]
    return "\n".join([line for line in lines if line][-TAIL:])


Report = Callable[[Outcome], None]
"""What is told of each task that has ended."""
