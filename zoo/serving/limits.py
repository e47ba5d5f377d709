"""What a stranger may ask for, and how they are refused."""

from dataclasses import dataclass

from fastapi import HTTPException

MEGABYTE = 10**6


@dataclass(frozen=True)
class Limits:
    """What one request may take, and how many may be in the house."""

    megabytes: float = 50  # of an upload
    minutes: float = 15  # of audio
    queue: int = 256  # requests in the house
    at_work: int = 64  # of them that are received, decoded or computed; others wait unread
    upload_seconds: float = 60  # to send a request
    decode_seconds: float = 30  # to decode a file
    kept_megabytes: float = 2000  # of uploads that the page keeps for its player

    @property
    def num_bytes(self) -> int:
        """The size of an upload, in bytes."""
        return round(self.megabytes * MEGABYTE)


class Refused(HTTPException):
    """A request that is not served, with one sentence for who asked."""

    detail: str

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence, {"Retry-After": "1"} if status == 503 else None)


def is_too_large(limits: Limits) -> Refused:
    """Return the refusal of an upload that is too large."""
    return Refused(413, f"The upload is larger than {limits.megabytes:g} MB; send a part of it.")


def ending() -> Refused:
    """Return the refusal of a request that waits when the server is told to stop."""
    return Refused(503, "The server is stopping; try again shortly.")


def busy() -> Refused:
    """Return the refusal of a request for which there is no room now."""
    return Refused(503, "The server is busy with as many requests as it takes; try again shortly.")
