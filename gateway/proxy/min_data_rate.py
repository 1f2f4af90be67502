"""`MinDataRate`: how long to go on waiting for a slow client; `SendRate` applies it to what is sent to one.

The numbers are settings: `body_timeout`, `answer_timeout` and `least_rate` of `Intake` (`settings/intake.py`). Other
timeouts there, such as `head_timeout`, are applied in `proxy/client_connection.py`.
"""

import asyncio
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


class SendRate:
    """Measures how fast the write buffer of a transport empties.

    Args:
        transport: Whose buffer.
        least: The rate below which the client times out.
    """

    __slots__ = ("_least", "_transport", "_unsent")

    def __init__(self, transport: asyncio.Transport, least: MinDataRate) -> None:
        self._transport = transport
        self._least = least
        self._unsent = 0

    def begin(self) -> float:
        """Start measuring. Returns for how many seconds to wait at most."""
        self._unsent = self._transport.get_write_buffer_size()
        return self._least.begin()

    def end(self) -> float:
        """Stop measuring. Returns for how many seconds to go on waiting; 0 when the client is too slow."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return self._least.end(max(before - self._unsent, 0))

    @property
    def sent_all(self) -> bool:
        """Whether the buffer was empty when it was last measured."""
        return not self._unsent
