"""`Breaker`: whether it is worth asking at all."""

from dataclasses import dataclass, field

THRESHOLD = 5
"""Failures in a row that open it."""


@dataclass(slots=True)
class Breaker:
    """Closed while the store answers; open after `threshold` failures in a row, until it is closed.

    It never closes by itself: whoever probes the store closes it.

    Attributes:
        threshold: Failures in a row that open it.
        opened_at: When it opened, microseconds by whatever clock the caller uses; None while it is closed.
    """

    threshold: int = THRESHOLD
    opened_at: int | None = None
    _failures: int = field(default=0, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether the store is not to be asked."""
        return self.opened_at is not None

    def succeed(self) -> None:
        """The store answered. An answer that comes in late does not close an open breaker."""
        self._failures = 0

    def fail(self, now: int) -> bool:
        """The store did not answer. True if this opened the breaker."""
        if self.opened_at is not None:
            return False
        self._failures += 1
        if self._failures < self.threshold:
            return False
        self.opened_at = now
        return True

    def open(self, now: int) -> None:
        """Stop asking at once."""
        self.opened_at = now

    def close(self, now: int) -> int:
        """Ask again. Returns the microseconds it was open."""
        opened_at, self.opened_at, self._failures = self.opened_at, None, 0
        return 0 if opened_at is None else now - opened_at
