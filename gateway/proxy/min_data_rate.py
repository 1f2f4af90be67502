"""`MinDataRate`: how long to go on waiting for a slow client."""

from collections.abc import Callable


class MinDataRate:
    """A budget of seconds that waiting uses up, and that the bytes transferred meanwhile fill up again.

    A client that transfers `rate` bytes a second never times out, however large the body. One that stalls times out
    after `most` seconds, and one that is slower than `rate` a little later.

    Args:
        clock: Returns the time, in seconds.
        most: Seconds in a full budget; it is full at first.
        rate: Bytes that add one second.
    """

    __slots__ = ("_clock", "_left", "_most", "_rate", "_since")

    def __init__(self, clock: Callable[[], float], most: float, rate: float) -> None:
        self._clock = clock
        self._most = most
        self._rate = rate
        self._left = most
        self._since = 0.0

    def begin(self) -> float:
        """Start waiting. Returns for how many seconds at most."""
        self._since = self._clock()
        return self._left

    def end(self, moved: int) -> float:
        """Stop waiting: `moved` bytes were transferred. Returns the seconds left in the budget; 0 is a timeout."""
        left = self._left - (self._clock() - self._since) + moved / self._rate
        self._left = left = min(max(left, 0.0), self._most)
        return left
