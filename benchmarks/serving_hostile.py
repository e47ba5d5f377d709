"""What strangers may do to a server: 200 uploads of broken audio, and a decoder that is killed."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.serving_load import Answer, Connection, Loading, memory, post, settle
from benchmarks.speed import Measured
from zoo.errors import InputError

NUM_UPLOADS = 200
AT_ONCE = 16
GOOD = 4  # every so many uploads is one of a good file
LARGEST = 51 * 10**6  # bytes of a file that are sent: more than a server takes
MOST_GROWTH = 10  # percent of memory that is no leak: what allocators keep
WORKER = "zoo.decode_worker"
CLIENTS, KILLS, EVERY = 32, 5, 2  # clients; decoders; seconds


def uploads(server: psutil.Process, port: int, folder: Path, good: Path) -> Iterator[Measured]:
    """Send the corpus of the tests among good files; nothing may break, or stay behind.

    `folder` is where the server keeps what is temporary.
    """
    welcome = post(good.name, good.read_bytes())
    requests = [welcome] * AT_ONCE  # once, so that what is loaded late is no growth
    _ask_all(port, requests)
    requests = list(_corpus(NUM_UPLOADS))
    settle(server)
    before, first = _state(server, folder), _ask_all(port, [welcome])[0]
    answers = _ask_all(port, _mixed(requests, welcome))
    settle(server)
    after, last = _state(server, folder), _ask_all(port, [welcome])[0]
    clean = sum(map(_is_clean, answers))
    refused = sum(answer.status != 200 for answer in answers)
    yield Measured(
        f"{NUM_UPLOADS} hostile uploads among good ones: clean answers",
        f"{clean} of {len(answers)} ({refused} refused)",
        "all",
        clean == len(answers),
    )
    is_same = last.status == 200 and last.body == first.body
    what = "then a good file is answered as before"
    yield Measured(what, "yes" if is_same else f"no: {last.status}", "yes", is_same)
    left = {name: f"{before[name]} to {after[name]}" for name in ("descriptors", "files")}
    is_clear = all(after[name] <= before[name] for name in left)
    figure = ", ".join(f"{name} {change}" for name, change in left.items())
    yield Measured("what is left behind", figure, "nothing", is_clear)
    growth = 100 * (after["MB"] / before["MB"] - 1)
    figure = f"{growth:+.1f} % of {before['MB']} MB"
    yield Measured("memory", figure, f"< {MOST_GROWTH} %", growth < MOST_GROWTH)


def kills(server: psutil.Process, port: int, files: Sequence[Path]) -> Iterator[Measured]:
    """Kill decoders while clients ask: each may cost one request."""
    loading = Loading(port, CLIENTS, EVERY * (KILLS + 1), files)
    num_killed = 0
    for _ in range(KILLS):
        time.sleep(EVERY)
        num_killed += _kill_one(server)
    load = loading.result()
    what = f"requests that fail as {num_killed} decoders are killed"
    figure = f"{load.num_failed} of {load.statuses.total()}"
    is_met = 0 < num_killed >= load.num_failed and load.statuses[200] > 0
    yield Measured(what, figure, "at most 1 each", is_met)


def check_corpus() -> Path:
    """Return the folder of the tests. Raises `InputError` where there is none."""
    folder = Path.cwd() / "tests"
    if not (folder / "hostile" / "__init__.py").is_file():
        raise InputError(
            f"the broken audio comes from tests/hostile, which is not in {Path.cwd()}; run this "
            "from the root of the repository, or with --no-hostile."
        )
    return folder


def _corpus(number: int) -> Iterator[bytes]:
    """Yield requests with files that are taken evenly from the corpus of the tests."""
    sys.path.insert(0, str(check_corpus()))
    from hostile import corpus

    with tempfile.TemporaryDirectory() as name:
        files = [case.write(Path(name)) for case in corpus()]
        files = [file for file in files if os.path.isfile(file)]  # noqa: PTH113 too long a name
        for n in range(number):
            file = files[n * len(files) // number]
            with file.open("rb") as stream:
                yield post(file.name, stream.read(LARGEST))


def _mixed(requests: Sequence[bytes], good: bytes) -> list[bytes]:
    groups = (requests[n : n + GOOD] for n in range(0, len(requests), GOOD))
    return [request for group in groups for request in (*group, good)]


def _ask_all(port: int, requests: Sequence[bytes]) -> list[Answer]:
    """Return the answers to requests, some at once, each on a connection of its own."""

    async def ask(request: bytes, room: asyncio.Semaphore) -> Answer:
        async with room:
            connection = Connection(port)
            try:
                return await connection.ask(request)
            except (OSError, EOFError, ValueError) as error:
                return Answer(0, {}, str(error).encode())
            finally:
                connection.close()

    async def ask_all() -> list[Answer]:
        room = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(ask(request, room) for request in requests))

    return asyncio.run(ask_all())


def _is_clean(answer: Answer) -> bool:
    """Tell whether it is one of success, or a refusal with a sentence."""
    if answer.status == 200:
        return True
    try:
        sentence = json.loads(answer.body)["error"]
    except (KeyError, TypeError, ValueError):
        return False
    return 400 <= answer.status < 500 and isinstance(sentence, str) and sentence.endswith(".")


def _state(server: psutil.Process, folder: Path) -> dict[str, int]:
    """Return what a server holds."""
    return {
        "descriptors": server.num_fds(),
        "files": sum(file.is_file() for file in folder.rglob("*")),
        "MB": round(memory(server)),
    }


def _kill_one(server: psutil.Process) -> bool:
    for process in server.children():
        with suppress(psutil.NoSuchProcess):
            if WORKER in process.cmdline():
                process.kill()
                return True
    return False
