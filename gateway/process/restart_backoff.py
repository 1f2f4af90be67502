"""`RestartBackoff`: how long to wait before a worker that died is replaced."""

_HEALTHY = 10.0
"""Seconds after which a worker's exit is an accident rather than part of a crash loop."""

_FIRST = 0.1
"""Seconds; twice as long each time."""

_MOST = 30.0
"""Seconds."""


class RestartBackoff:
    """Delays the next start after each worker that did not live long.

    Attributes:
        until: When the next worker may be started, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self._pause = 0.0

    def ended(self, now: float, lifetime: float) -> float:
        """A worker has exited after so many seconds. Returns the delay; a healthy one is replaced at once."""
        if lifetime < _HEALTHY:
            return self.failed(now)
        self.until, self._pause = now, 0.0
        return self._pause

    def failed(self, now: float) -> float:
        """A worker could not be started. Returns the delay, in seconds."""
        self._pause = min(_MOST, self._pause * 2 or _FIRST)
        self.until = now + self._pause
        return self._pause
