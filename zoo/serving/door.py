"""The first to see a request: what is too large, too slow or too much stays out, and so does what
is none of a stranger's business. ASGI, before both the API and the page.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo.serving.asked import MOST_BYTES, checked
from zoo.serving.body import FORM, Body
from zoo.serving.limits import Refused, is_too_large
from zoo.serving.service import Service, short

API = "/v1/"  # where a POST is decoded and computed

GRADIO = "/gradio_api/"
SONGS = f"{GRADIO}file="
KNOWN = {"/", "/config", "/docs", "/favicon.ico", "/leaderboard", "/manifest.json", "/metrics"}
KNOWN |= {"/openapi.json", "/robots.txt", "/theme.css"}
BELOW = (  # what the page needs of Gradio, which could also fetch addresses for anybody
    API,
    "/assets/",
    "/health/",
    "/static/",
    "/static-offline-docs/",
    f"{GRADIO}queue/data",
    f"{GRADIO}startup-events",
    f"{GRADIO}upload_progress",
    SONGS,
)
ASKED, UPLOAD = f"{GRADIO}queue/join", f"{GRADIO}upload"
LOCAL = {"127.0.0.1", "::1", "localhost"}
LONGEST_QUERY = 200  # bytes
GONE = 499  # nginx's status for it; nobody reads it but who looks at the measures
DIGITS = 15  # of a length that may be said

POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # of the page's templates and charts
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "font-src 'self' data:",
        "frame-ancestors 'self'",
        "base-uri 'self'",
        "form-action 'self'",
        "object-src 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,  # a browser asks no other machine for anything
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Door:
    """Lets requests in, and measures them."""

    def __init__(self, app: ASGIApp, service: Service, is_local: bool) -> None:
        """`is_local`: it is called by the names of this machine alone, or a page elsewhere could
        make a browser believe that it is its own server (DNS rebinding)."""
        self._app, self._service, self._is_local = app, service, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                body.is_answered = True
                await body.drain()
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if scope["path"].startswith(SONGS):
                    headers["Content-Security-Policy"] = "sandbox"  # no page of a stranger's
            await send(message)

        body = Body(receive, scope, self._service.limits)
        try:
            async with self._let_in(scope):
                if scope["path"] == ASKED:
                    asked = await body.whole(MOST_BYTES)
                    body.say(checked(asked, self._service.events, self._service.uploads))
                if scope["path"] in KNOWN:
                    scope["query_string"] = b""  # Gradio takes pages and links there
                serving = self._app(scope, body.receive, answer)
                await (_unless_abandoned(body, serving) if _is_work(scope) else serving)
        except Refused as refused:
            problem = {"error": refused.detail}
            response = JSONResponse(problem, refused.status_code, refused.headers)
            await response(scope, receive, answer)
        finally:
            place = _endpoint(scope)
            self._service.measures.requests.labels(place, status).inc()
            self._service.measures.seconds.labels(place).observe(time.perf_counter() - started)

    def _let_in(self, scope: Scope) -> AbstractAsyncContextManager[None]:
        """Return what holds the place of a request. Raises `Refused`."""
        path, limits, headers = scope["path"], self._service.limits, Headers(scope=scope)
        host = headers.get("host", "")
        if self._is_local and _name(host) not in LOCAL:
            raise Refused(421, f"This server is not {short(host)}; --host lets others in.")
        length = headers.get("content-length", "0")
        if len(length) > DIGITS or (length.isdecimal() and int(length) > limits.num_bytes + FORM):
            raise is_too_large(limits)
        if not _is_known(scope["method"], path) or len(scope["query_string"]) > LONGEST_QUERY:
            raise Refused(404, f"There is nothing at {short(path)}.")
        return self._service.admitted() if _is_work(scope) else nullcontext()


async def _unless_abandoned(body: Body, serving: Awaitable[None]) -> None:
    """Serve a request, or as much of it as is done when nobody waits for the answer any more.
    Raises `Refused` then."""
    work, leaving = asyncio.ensure_future(serving), asyncio.ensure_future(body.until_abandoned())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done() and not body.is_answered:
            raise Refused(GONE, "Who asked has gone.")
        await work
    finally:
        leaving.cancel()
        work.cancel()
        await asyncio.wait({work})


def _is_work(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"].startswith((API, UPLOAD))


def _name(host: str) -> str | None:
    """Return the name in a header `Host`, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_known(method: str, path: str) -> bool:
    if method not in ("GET", "HEAD") and not path.startswith(API):
        return path in (ASKED, UPLOAD)
    return path in KNOWN or path.startswith(BELOW)


def _endpoint(scope: Scope) -> str:
    """Return what a request is counted as: a path of ours, not whatever somebody typed."""
    return getattr(scope.get("route"), "path", "other")
