"""A Hub of one data set on this machine: what `datasets` asks of the real one."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

SHA = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """The repository `some/one`: a folder."""

    root: Path
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlparse(self.path)
        self.asked.append(f"{self.command} {url.path}")
        match unquote(url.path).split("/", 6)[1:]:
            case ["api", "datasets", "some", "one"] | [
                "api",
                "datasets",
                "some",
                "one",
                "revision",
                _,
            ]:
                self.answer({"id": "some/one", "sha": SHA, "siblings": [], "private": False})
            case ["api", "datasets", "some", "one", "tree", place]:
                folder = self.root.joinpath(*place.split("/")[1:])
                is_deep = "recursive=true" in url.query.lower()
                found = folder.rglob("*") if is_deep else folder.glob("*")
                self.answer([self.entry(file) for file in sorted(found)])
            case ["api", "datasets", "some", "one", "paths-info", _]:
                names = json.loads(body) if body[:1] == b"{" else parse_qs(body.decode())
                files = [self.root / name for name in names.get("paths", [])]
                self.answer([self.entry(file) for file in files if file.exists()])
            case ["datasets", "some", "one", "resolve", _, name]:
                self.send_file(self.root / name)
            case _:
                self.answer({}, 404, **{"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_POST = do_GET

    def entry(self, file: Path) -> dict[str, Any]:
        kind = "directory" if file.is_dir() else "file"
        path, size = file.relative_to(self.root).as_posix(), file.stat().st_size
        return {"type": kind, "path": path, "size": size, "oid": hashlib.sha1(b"").hexdigest()}

    def send_file(self, file: Path) -> None:
        if not file.is_file():
            self.answer({}, 404, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
            return
        data, headers = file.read_bytes(), {"X-Repo-Commit": SHA}
        headers["ETag"] = f'"{hashlib.sha1(data).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data = data[start : end + 1]
        self.answer(data, 206 if wanted else 200, **headers)

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serve(root: Path, hub: type[Hub] = Hub) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a Hub whose one repository is that folder, and what it is asked."""
    asked: list[str] = []
    handler = type("Handler", (hub,), {"root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
