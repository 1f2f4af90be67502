"""`StoreClock`: Redis' time, as far as this process can tell without asking."""

from time import monotonic_ns, time_ns


def monotonic() -> int:
    """Microseconds of a clock that never steps."""
    return monotonic_ns() // 1000


class StoreClock:
    """Redis' time: never behind, and ahead by no more than the round trip took that brought it.

    Calling it gives microseconds since 1970. Before the first reply, and without Redis, it is the machine's time at the
    moment the clock was made plus what has passed since, so it never steps.
    """

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time_ns() // 1000 - monotonic()

    def __call__(self) -> int:
        return monotonic() + self._offset

    def update(self, now: int, sent: int) -> None:
        """Learn the time from a reply that has just come in.

        Args:
            now: Redis' time, read somewhere between request and reply.
            sent: When the request went out, by `monotonic`.
        """
        latest = now - sent
        if not now - monotonic() <= self._offset <= latest:
            self._offset = latest
