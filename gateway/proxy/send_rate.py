"""`SendRate`: whether a client takes fast enough what has been written to it."""

import asyncio

from gateway.proxy.min_data_rate import MinDataRate


class SendRate:
    """Measures how fast the write buffer of a transport empties, and how long that may go on.

    Args:
        transport: Whose buffer.
        least: What is fast enough.
    """

    __slots__ = ("_least", "_transport", "_unsent")

    def __init__(self, transport: asyncio.Transport, least: MinDataRate) -> None:
        self._transport = transport
        self._least = least
        self._unsent = 0

    def begin(self) -> float:
        """Measure from now on. Returns the seconds to wait at most."""
        self._unsent = self._transport.get_write_buffer_size()
        return self._least.begin()

    def end(self) -> float:
        """Returns the seconds that may be waited on; 0 when the client is too slow."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return self._least.end(max(before - self._unsent, 0))

    @property
    def sent_all(self) -> bool:
        """Whether there was nothing left to send, the last time."""
        return not self._unsent
