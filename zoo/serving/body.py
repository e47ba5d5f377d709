"""The body of a request, on its way in."""

import asyncio
import math
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from zoo.serving.limits import Limits, Refused, is_too_large

FORM = 2**16  # bytes that a form may add to its file
PATIENCE = 5  # seconds for the rest of what is refused, so that its sender reads why


class Body:
    """The body of a request, as long as it is neither too large nor too slow."""

    def __init__(self, receive: Receive, scope: Scope, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._num_bytes = 0
        self._instead: bytes | None = None
        self._is_awaited = Headers(scope=scope).get("expect") is None  # else when it is asked for
        self._is_whole = scope["method"] in ("GET", "HEAD")
        self._has_ended = asyncio.Event()
        self.is_answered = False  # begun to be
        self._end = math.inf  # until it begins to be read

    async def receive(self) -> Message:
        """Return its next part, or what comes after it. Raises `Refused`."""
        if self._instead is not None:
            content, self._instead = self._instead, None
            return {"type": "http.request", "body": content, "more_body": False}
        if self._is_whole:
            return await self._receive()
        self._is_awaited = True
        self._end = min(self._end, time.monotonic() + self._limits.upload_seconds)
        message = await self._part(self._end)
        if message is None:
            most = f"{self._limits.upload_seconds:g} s"
            raise Refused(408, f"The upload took longer than {most}; send a smaller file.")
        if message["type"] == "http.disconnect":
            raise Refused(400, "The upload ended early.")
        if self._num_bytes > self._limits.num_bytes + FORM:
            raise is_too_large(self._limits)
        return message

    async def whole(self, most: int) -> bytes:
        """Return all of it. Raises `Refused` for more than `most` bytes, too."""
        content = b""
        while not self._is_whole:
            content += (await self.receive()).get("body", b"")
            if len(content) > most:
                raise Refused(413, "The request is larger than any that the page sends.")
        return content

    async def until_abandoned(self) -> None:
        """Return when the sender has sent all, and then gone, or got the whole answer."""
        await self._has_ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def say(self, content: bytes) -> None:
        """Give this to whoever asks next, in the place of what was sent."""
        self._instead = content

    async def drain(self) -> None:
        """Take the rest and forget it, as much as may be sent at all: who is still sending does not
        read an answer."""
        end, most = time.monotonic() + PATIENCE, 2 * (self._limits.num_bytes + FORM)
        while self._is_awaited and not self._is_whole and self._num_bytes < most:
            if await self._part(end) is None:
                return

    async def _part(self, end: float) -> Message | None:
        try:
            message = await asyncio.wait_for(self._receive(), end - time.monotonic())
        except TimeoutError:
            return None
        self._num_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._is_whole:
            self._has_ended.set()
        return message
