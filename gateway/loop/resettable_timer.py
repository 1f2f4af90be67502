"""`ResettableTimer`: calls back at a time that may be moved often."""

import asyncio
from collections.abc import Callable


class ResettableTimer:
    """Calls back when the time is up, unless it has been moved or cleared by then.

    There is one timer for each connection. It is left to fire early, and then set again; so moving the deadline with
    each request, or with each piece of a body, costs no timer.

    Args:
        loop: Its clock counts.
        on_time: Called when the time is up.
    """

    __slots__ = ("_at", "_due", "_loop", "_on_time", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_time: Callable[[], None]) -> None:
        self._loop = loop
        self._on_time = on_time
        self._at = 0.0
        self._due = 0.0  # when the timer fires; uvloop's own `when` is missing if it is due at once
        self._timer: asyncio.Handle | None = None

    def set(self, seconds: float) -> None:
        """Call back after so many seconds, and not earlier."""
        self._at = at = self._loop.time() + seconds
        if self._timer is None:
            self._due = at
            self._timer = self._loop.call_at(at, self._look)
        elif self._due > at:
            self._timer.cancel()
            self._due = at
            self._timer = self._loop.call_at(at, self._look)

    def stop(self) -> float:
        """Do not call back until it is set again. Returns the seconds that were left; 0 if it was not set."""
        left = max(self._at - self._loop.time(), 0.0) if self._at else 0.0
        self._at = 0.0
        return left

    def clear(self) -> None:
        """Do not call back until it is set again."""
        self._at = 0.0

    def cancel(self) -> None:
        """Never call back again."""
        self._at = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._at:
            return
        if self._loop.time() < self._at:
            self._due = self._at
            self._timer = self._loop.call_at(self._at, self._look)
        else:
            self._at = 0.0
            self._on_time()
