"""Prepare the files that a JSON file lists, in a process of its own that is measured.

python tests/hostile/run.py FILES.json CACHE RESULT.json
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

import zoo.workers
from zoo.decoding import prepare

SECONDS = 30  # in place of a minute and more, for the one file that takes half an hour


def main() -> None:
    files, cache, result = map(Path, sys.argv[1:])
    zoo.workers.time_limit = lambda num_bytes: SECONDS
    start = time.monotonic()
    store, report = prepare(json.loads(files.read_text()), 16_000, cache, 2, progress=False)
    own = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert own
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    summary = {
        "stored": store.paths,
        "refused": dict(zip(report["path"], report["reason"], strict=True)),
        "seconds": time.monotonic() - start,
        "peak": {"parent": int(own[1]) * 1024, "worker": worker * 1024},
    }
    result.write_text(json.dumps(summary))


if __name__ == "__main__":
    main()
