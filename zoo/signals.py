"""Signals that ask a run to stop: heard at once, answered after a checkpoint."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}  # 75: EX_TEMPFAIL, try again


@contextmanager
def exiting() -> Iterator[None]:
    """End at once on SIGTERM, with its exit code: for work that is cheap to do again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(CODES[signal.SIGTERM]))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Signals:
    """Remembers SIGTERM and SIGINT (Ctrl-C) while it is entered; a second one acts at once."""

    received: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in CODES}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, self._before[self.received])

    def stop(self) -> NoReturn:
        """Exit with the code of the signal (SIGTERM if only another process received it)."""
        sys.exit(CODES[self.received or signal.SIGTERM])
