"""`zoo.decode_worker`, but what it does with some files, by their names, no codec should."""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import zoo.decode_worker
from zoo.audio import decode_to
from zoo.stream import Tags

poisoned: list[str] = []  # what spoilt this process for the files to come


def unruly(
    path: str, sample_rate: int, write: Callable[[memoryview], object], max_seconds: float
) -> Tags:
    name = Path(path).name
    with Path(path).with_name("processes").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if "crash" in name:
        ctypes.string_at(0)
    if "hang" in name:
        time.sleep(1_000)
    if "bloat" in name:
        bytes(2**40)
    if poisoned:
        os.abort()
    if "poison" in name:
        poisoned.append(name)
    if "fault" in name:
        raise ZeroDivisionError("a fault of ours")
    return decode_to(path, sample_rate, write, max_seconds)


def lying(path: str, *rest: Any) -> dict[str, Any]:
    """Announce more than comes, and come to an end."""
    reply = answer(path, *rest)
    if "short" in path:
        reply["length"] += 1
        Timer(0.5, os._exit, [0]).start()
    return reply


if __name__ == "__main__":
    answer = zoo.decode_worker._answer
    zoo.decode_worker._answer = lying
    zoo.decode_worker.decode_to = unruly
    zoo.decode_worker.main()
