"""`python -m zoo.decode_worker SAMPLE_RATE`: decodes the files whose names it is sent.

The other end of `zoo.workers`. It reads paths, one in JSON to a line, and answers each with a line:
{"reason": text}, {"error": text} for a fault of ours, or {"length": n} and n int16 samples.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.audio import MAX_SECONDS, SAMPLE_BYTES, AudioError, decode

MEMORY_BASE = 512 * 2**20  # bytes: more than any decoder needs beside its result
GROWTH = 9 / 8  # of a bytearray


def main() -> None:
    """Decode until the other end closes the pipe, or is no more."""
    sample_rate = int(sys.argv[1])
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _silence_libraries()
    paths: SimpleQueue[str] = SimpleQueue()
    Thread(target=_receive, args=(requests, paths), daemon=True).start()
    _limit_memory(memory_limit(sample_rate))
    while True:
        _send(replies, *_answer(paths.get(), sample_rate))


def _answer(path: str, sample_rate: int) -> tuple[dict[str, Any], NDArray[np.int16]]:
    nothing = np.empty(0, np.int16)
    try:
        samples = decode(path, sample_rate)
    except AudioError as error:
        return {"reason": str(error)}, nothing
    except MemoryError:
        most = f"{memory_limit(sample_rate) / 1e9:.1f} GB"
        return {"reason": f"needs more than {most} of memory to decode"}, nothing
    except Exception:
        return {"error": traceback.format_exc()}, nothing
    return {"length": len(samples)}, samples


def memory_limit(sample_rate: int) -> int:
    """Return how many bytes decoding may take: the longest track, and some for the decoder."""
    return int(MAX_SECONDS * sample_rate * SAMPLE_BYTES * GROWTH) + MEMORY_BASE


def _receive(requests: BinaryIO, paths: "SimpleQueue[str]") -> None:
    """Pass requests on; end the process with the pipe, even in the middle of a file."""
    for line in requests:
        paths.put(json.loads(line))
    os._exit(0)


def _send(replies: BinaryIO, reply: dict[str, Any], samples: NDArray[np.int16]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.write(samples.data)
    replies.flush()


def _silence_libraries() -> None:
    """Send to nowhere what C libraries print; Python's own errors stay."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)


def _limit_memory(num_bytes: int) -> None:
    """Let allocations beyond `num_bytes` fail; only Linux keeps such a limit."""
    if sys.platform == "linux":
        import resource

        num_pages = int(Path("/proc/self/statm").read_text().split()[0])  # taken by now
        most = num_pages * resource.getpagesize() + num_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


if __name__ == "__main__":
    main()
