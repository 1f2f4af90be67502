"""`MinDataRate`: how long we go on waiting for a client that is slow."""

from collections.abc import Callable


class MinDataRate:
    """A stock of seconds, used up by waiting, and filled up again by the bytes that the client moves meanwhile.

    So a client that moves `rate` bytes a second is never given up, however large the body. One that stalls is given up
    after `most` seconds, and one that is slower, a little later.

    Args:
        clock: Tells the time.
        most: Seconds that the stock holds; it is full at first.
        rate: Bytes that are worth a second.
    """

    __slots__ = ("_clock", "_left", "_most", "_rate", "_since")

    def __init__(self, clock: Callable[[], float], most: float, rate: float) -> None:
        self._clock = clock
        self._most = most
        self._rate = rate
        self._left = most
        self._since = 0.0

    def begin(self) -> float:
        """We wait from now on. Returns for how long at most."""
        self._since = self._clock()
        return self._left

    def end(self, moved: int) -> float:
        """We have waited, and so many bytes have moved. Returns how long we would go on; 0 when it is enough."""
        left = self._left - (self._clock() - self._since) + moved / self._rate
        self._left = left = min(max(left, 0.0), self._most)
        return left
