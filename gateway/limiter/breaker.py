"""`Breaker`: a circuit breaker that says whether Redis is worth asking."""

from dataclasses import dataclass, field

THRESHOLD = 5
"""Failures in a row that open it."""


@dataclass(slots=True)
class Breaker:
    """Closed while Redis is available; open after `threshold` failures in a row, until `close` is called.

    It never closes by itself: whoever probes Redis closes it.

    Attributes:
        threshold: Failures in a row that open it.
        opened_at: When it opened, in microseconds of the caller's clock; None while it is closed.
    """

    threshold: int = THRESHOLD
    opened_at: int | None = None
    _failures: int = field(default=0, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether Redis is unavailable and should not be asked."""
        return self.opened_at is not None

    def succeed(self) -> None:
        """Record a reply. One that comes late does not close an open breaker."""
        self._failures = 0

    def fail(self, now: int) -> bool:
        """Record a failure. Returns whether this one opened the breaker."""
        if self.opened_at is not None:
            return False
        self._failures += 1
        if self._failures < self.threshold:
            return False
        self.opened_at = now
        return True

    def open(self, now: int) -> None:
        """Open it at once."""
        self.opened_at = now

    def close(self, now: int) -> int:
        """Close it. Returns the microseconds for which it was open."""
        opened_at, self.opened_at, self._failures = self.opened_at, None, 0
        return 0 if opened_at is None else now - opened_at
