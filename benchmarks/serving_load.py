"""`python -m benchmarks.serving_load PORT CLIENTS SECONDS FILE...`: clients that ask a server.

Each sends a song, reads the answer, and sends the next; one that is told to wait (429, 503) does,
and sends the same again. A process of its own, and sockets alone, as it shares the cores with the
server. Prints a `Load` as JSON.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import psutil

WARM = 0.25  # of the time: what ends in it is counted, but not timed
BUSY = (429, 503)
IDLE = 10.0  # percent of a core: less is no work
BOUNDARY = b"----genre-zoo"
ESCAPED = {"\r": "%0D", "\n": "%0A", '"': "%22"}  # in names of files, as browsers do


@dataclass
class Load:
    """What came of asking: seconds of what ended after warming up, and numbers of all."""

    seconds: float  # in which it was timed
    answers: list[float] = field(default_factory=list)  # from sending to the answer
    waits: list[float] = field(default_factory=list)  # from the first try to the answer
    unanswered: list[float] = field(default_factory=list)  # from the first try to the end
    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)  # anything but an answer

    @property
    def throughput(self) -> float:
        """Answered requests a second."""
        return len(self.answers) / self.seconds

    @property
    def p95(self) -> float:
        """The seconds in which 95 % of what was let in was answered."""
        return float(np.percentile(self.answers, 95)) if self.answers else float("nan")

    @property
    def p95_of_waits(self) -> float:
        """The seconds that 95 % waited at most, at least so long: who still waits is counted."""
        return float(np.percentile(self.waits + self.unanswered, 95))

    @property
    def num_failed(self) -> int:
        """How many requests got no answer, or another than a clean one."""
        clean = sum(self.statuses[status] for status in (200, *BUSY))
        return len(self.errors) + self.statuses.total() - clean

    @classmethod
    def loads(cls, text: str) -> Self:
        """Read what `main` prints."""
        content = json.loads(text)
        content["statuses"] = Counter({int(k): n for k, n in content["statuses"].items()})
        return cls(**content)


class Answer(NamedTuple):
    """What a server says."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One to a server here, which is kept as long as the server likes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request, and return the answer. Raises OSError, EOFError and ValueError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            writer.write(request)  # not awaited: the answer may come before all is sent
            answer = await _read(reader)
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """End it; the next request makes a new one."""
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "")))
    return Answer(int(first.split()[1]), headers, body)


def post(name: str, content: bytes, path: str = "/v1/classify") -> bytes:
    """Return a request that sends a file in a form."""
    shown = "".join(ESCAPED.get(letter, letter) for letter in name).encode("utf-8", "surrogatepass")
    part = b'Content-Disposition: form-data; name="file"; filename="' + shown + b'"'
    body = b"--%b\r\n%b\r\n\r\n%b\r\n--%b--\r\n" % (BOUNDARY, part, content, BOUNDARY)
    kind = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\nContent-Length: %d\r\n\r\n"
    return head % (path.encode(), kind, len(body)) + body


async def _client(port: int, requests: Sequence[bytes], number: int, asked: "_Asked") -> None:
    connection = Connection(port)
    for turn in cycle(range(len(requests))):
        request = requests[(turn + number) % len(requests)]
        asked.since[number] = time.monotonic()
        while not await _is_answered(connection, request, number, asked):
            pass


async def _is_answered(
    connection: Connection, request: bytes, number: int, asked: "_Asked"
) -> bool:
    started = time.monotonic()
    try:
        answer = await connection.ask(request)
    except (OSError, EOFError, ValueError) as error:
        asked.load.errors.append(f"{type(error).__name__}: {error}")
        await asyncio.sleep(0.1)
        return True
    ended = time.monotonic()
    asked.load.statuses[answer.status] += 1
    if answer.status in BUSY:
        await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
        return False
    if answer.status == 200 and ended >= asked.warm:
        asked.load.answers.append(ended - started)
        asked.load.waits.append(ended - asked.since[number])
    return True


@dataclass
class _Asked:
    """What is known until now."""

    warm: float  # when timing begins
    load: Load
    since: dict[int, float] = field(default_factory=dict)  # when each client first tried


async def ask(port: int, num_clients: int, seconds: float, requests: Sequence[bytes]) -> Load:
    """Let clients ask for so long."""
    asked = _Asked(time.monotonic() + WARM * seconds, Load((1 - WARM) * seconds))
    clients = [
        asyncio.create_task(_client(port, requests, number, asked)) for number in range(num_clients)
    ]
    done, _ = await asyncio.wait(clients, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    end = time.monotonic()
    asked.load.unanswered = [end - since for since in asked.since.values()]
    for client in clients:
        client.cancel()
    for client in done:
        client.result()  # raises what it did not expect
    return asked.load


def family(server: psutil.Process) -> list[psutil.Process]:
    """Return the processes of a server."""
    return [server, *server.children(recursive=True)]


def memory(server: psutil.Process) -> float:
    """Return the memory of a server and its processes in MB."""
    total = 0
    for process in family(server):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 1e6


def settle(server: psutil.Process) -> None:
    """Wait until a server has nothing to do: what clients left behind disturbs no other."""
    while sum(_cpu_share(process) for process in family(server)) > IDLE:
        pass


def _cpu_share(process: psutil.Process) -> float:
    try:
        return process.cpu_percent(interval=0.3)
    except psutil.NoSuchProcess:
        return 0.0


class Loading:
    """Clients that ask in a process of their own, while this one does something else."""

    def __init__(self, port: int, clients: int, seconds: float, files: Sequence[Path]) -> None:
        command = [sys.executable, "-m", "benchmarks.serving_load"]
        arguments = [str(a) for a in (port, clients, seconds, *files)]
        self._process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)

    def result(self) -> Load:
        """Wait for the end, and return what came of it."""
        text, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError("the clients have failed; their error is above")
        return Load.loads(text)


def main() -> None:
    """Run the command."""
    port, clients, seconds, *files = sys.argv[1:]
    requests = [post(Path(file).name, Path(file).read_bytes()) for file in files]
    load = asyncio.run(ask(int(port), int(clients), float(seconds), requests))
    print(json.dumps(vars(load)))


if __name__ == "__main__":
    main()
