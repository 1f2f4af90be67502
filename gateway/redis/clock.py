"""`StoreClock`: what time it is in the store, as far as this process can tell without asking."""

import time


def monotonic() -> int:
    """Microseconds of a clock that never steps."""
    return time.monotonic_ns() // 1000


class StoreClock:
    """The store's time: never behind it, and ahead by no more than the answer took that told it.

    Calling it gives microseconds since 1970. Before the store was first heard of, and where there is no other than this
    process, it is the machine's time when the clock was made and what has passed since, so it never steps.
    """

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time_ns() // 1000 - monotonic()

    def __call__(self) -> int:
        return monotonic() + self._offset

    def hear(self, now: int, sent: int) -> None:
        """Learn the time.

        Args:
            now: The store's time, read somewhere between question and answer.
            sent: When the question went out, by `monotonic`. The answer has come in just now.
        """
        latest = now - sent
        if not now - monotonic() <= self._offset <= latest:
            self._offset = latest
