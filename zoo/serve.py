"""`python -m zoo.serve MODEL...`: a page and an HTTP API that say what a song sounds like.

MODEL is a run, a model folder, a name on the Hub, or an exported file (.onnx is served without
torch); several are compared. The page is at /, the API's documentation at /docs, measures for
Prometheus at /metrics, health at /health/live and /health/ready. It listens to this machine alone
unless --host says otherwise. Ctrl-C and SIGTERM finish what was begun.
"""

import argparse
import ipaddress
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from zoo.errors import InputError, guard
from zoo.opening import open_runner

if TYPE_CHECKING:
    import uvicorn

    from zoo.serving.service import Service

GRACE = 30  # seconds to finish what was begun
MOST = {"megabytes": 2000, "minutes": 48 * 60, "queue": 10_000}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _options(arguments)
    try:
        import uvicorn

        from zoo.serving.application import find_board, make_application
        from zoo.serving.limits import Limits
        from zoo.serving.measures import Measures
        from zoo.serving.service import Service
        from zoo.serving.shelf import Shelf
    except ImportError as error:
        raise InputError(
            f"zoo.serve needs {error.name}, which is not installed: pip install 'genre-zoo[serve]'."
        ) from error
    limits = Limits(options.megabytes, options.minutes, options.queue)
    board = find_board(options.leaderboard) if options.leaderboard else None
    shelf = Shelf(options.library) if options.library else None
    listening = _listen(options.host, options.port)
    runners = [open_runner(name) for name in options.models]
    with closing(Service(runners, limits, Measures(), shelf)) as service:
        app = make_application(service, board, is_local=_is_loopback(listening))
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=GRACE,
            server_header=False,
            ws="none",
        )
        run(uvicorn.Server(config), listening, service)


def run(server: "uvicorn.Server", listening: socket.socket, service: "Service") -> None:
    """Serve until a signal ends it, and say where when it begins."""
    start, end = server.startup, server.handle_exit

    def handle_exit(number: int, frame: FrameType | None) -> None:
        service.is_ending = True
        end(number, frame)

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await start(sockets)
        _say(listening)

    server.startup = startup  # type: ignore[method-assign]
    server.handle_exit = handle_exit  # type: ignore[assignment, method-assign]
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises them again at its end
        signal.signal(number, server.handle_exit)
    server.run([listening])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound. Raises `InputError` where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--host {host} --port {port} cannot be listened on ({reason}); give another."
        ) from error


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def _say(listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"serving on http://{shown}:{port} (API: /docs); Ctrl-C stops it", flush=True)
    if not _is_loopback(listening):
        print(
            "whoever reaches this machine can use it: docs/serving.md says what a reverse proxy "
            "should do before it",
            file=sys.stderr,
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m zoo.serve", description=__doc__)
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="the first answers unless another is named")
    add("--library", type=Path, metavar="FILE", help="what zoo.embed wrote: finds similar tracks")
    add("--leaderboard", type=Path, metavar="DIR", help="what `leaderboard build` wrote")
    add("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add("--port", type=int, default=8000, help="its port; 0 takes a free one (default: 8000)")
    add("--megabytes", type=float, default=50, help="the largest upload (default: 50)")
    add("--minutes", type=float, default=15, help="the longest audio (default: 15)")
    add(
        "--queue",
        type=int,
        default=256,
        help="requests that may wait or be worked on (default: 256); others get 503",
    )
    options = parser.parse_args(arguments)
    for name, most in MOST.items():
        if not 0 < (value := getattr(options, name)) <= most:
            raise InputError(f"--{name} {value:g} must be more than 0, and {most:,} at most.")
    return options


if __name__ == "__main__":
    guard(main)
