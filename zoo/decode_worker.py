"""`python -m zoo.decode_worker SAMPLE_RATE MAX_SECONDS`: decodes the files whose names it is sent.

The other end of `zoo.workers`. It reads {"path": ..., "spool": FILE}, in JSON, one to a line, and
answers each with a line: {"reason": text}, {"error": text} for a fault of ours, or {"length": n,
"tags": [artist, title], "spooled": whether} and, unless they are in the spool, n int16 samples.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from zoo.audio import SAMPLE_BYTES, AudioError, decode_to

LARGE = 2**23  # samples, nearly 9 min at 16 kHz: more go through a file
MEMORY_LIMIT = 512 * 2**20  # bytes: more than any decoder needs, and `LARGE` samples
Request = dict[str, str]


class Sink:
    """Takes samples: into memory, and what is more than `LARGE` into the file `spool`."""

    def __init__(self, spool: str) -> None:
        self.spool, self.num_bytes = Path(spool), 0
        self.samples = bytearray()
        self._file: BinaryIO | None = None

    @property
    def is_spooled(self) -> bool:
        """Whether the samples are in the file, and none here."""
        return self._file is not None

    def write(self, block: memoryview) -> None:
        """Take samples. Raises `AudioError` where the disk is full."""
        self.num_bytes += block.nbytes
        if self._file is None and self.num_bytes <= LARGE * SAMPLE_BYTES:
            self.samples.extend(block)
            return
        try:
            if self._file is None:
                self.spool.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.spool.open("wb")
                self._file.write(self.samples)
                self.samples.clear()
            self._file.write(block)
        except OSError as error:
            raise AudioError(
                f"is long and needs room in {self.spool.parent}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Finish the file, if there is one."""
        if self._file is not None:
            self._file.close()


def main() -> None:
    """Decode until the other end closes the pipe, or is no more."""
    sample_rate, max_seconds = int(sys.argv[1]), float(sys.argv[2])
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _silence_libraries()
    waiting: SimpleQueue[Request] = SimpleQueue()
    Thread(target=_receive, args=(requests, waiting), daemon=True).start()
    _limit_memory(MEMORY_LIMIT)
    while True:
        request = waiting.get()
        sink = Sink(request["spool"])
        reply = _answer(request["path"], sample_rate, sink, max_seconds)
        replies.write(json.dumps(reply).encode() + b"\n")
        if "length" in reply:
            replies.write(sink.samples)
        replies.flush()


def _answer(path: str, sample_rate: int, sink: Sink, max_seconds: float) -> dict[str, Any]:
    try:
        tags = decode_to(path, sample_rate, sink.write, max_seconds)
    except AudioError as error:
        return {"reason": str(error)}
    except MemoryError:
        most = f"{MEMORY_LIMIT / 1e9:.1f} GB"
        return {"reason": f"needs more than {most} of memory to decode"}
    except Exception:
        return {"error": traceback.format_exc()}
    finally:
        sink.close()
    length = sink.num_bytes // SAMPLE_BYTES
    return {"length": length, "tags": tags, "spooled": sink.is_spooled}


def _receive(requests: BinaryIO, waiting: "SimpleQueue[Request]") -> None:
    """Pass requests on; end the process with the pipe, even in the middle of a file."""
    for line in requests:
        waiting.put(json.loads(line))
    os._exit(0)


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
