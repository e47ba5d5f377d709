"""Real servers, for tests: `python -m zoo.serve` in a process of its own."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).parents[1]


@dataclass
class Server:
    """A server that listens."""

    url: str
    process: subprocess.Popen[str]
    temporary: Path  # where it keeps what it does not need for long

    def post(self, path: str, file: Path | None, **values: Any) -> requests.Response:
        """Send a file to the API."""
        name = file and os.fsencode(file.name).decode("utf-8", "replace")
        files = {"file": (name, file.read_bytes())} if file else None
        return requests.post(self.url + path, files=files, params=values, timeout=120)

    def get(self, path: str) -> requests.Response:
        """Get what is there."""
        return requests.get(self.url + path, timeout=60)

    def measure(self, name: str) -> float:
        """Return the value of a measure of Prometheus."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.M)
        assert found, name
        return float(found[1])

    def decoders(self) -> list[psutil.Process]:
        """Return its decoding processes."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "zoo.decode_worker" in child.cmdline()]

    def stop(self) -> int:
        """Ask it to stop, and wait; return its exit code."""
        self.process.terminate()
        return self.process.wait(60)


def error_of(response: requests.Response) -> str:
    """Return the one sentence of an error."""
    content = json.loads(response.text)
    assert list(content) == ["error"] and content["error"].endswith("."), content
    return content["error"]


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Server]:
    """Run a server in a folder, on a port that is free."""
    command = [sys.executable, "-m", "zoo.serve", *arguments, "--port", "0"]
    temporary = Path(tempfile.mkdtemp(dir=folder))
    environment = os.environ | {"TMPDIR": str(temporary)}
    pipes = {"stdout": subprocess.PIPE, "text": True, "env": environment, "cwd": folder}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, **pipes)
    try:
        assert process.stdout
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, (folder / "server.log").read_text()
        yield Server(address[0], process, temporary)
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout else None
    said = (folder / "server.log").read_text()
    assert "Traceback" not in said, said
