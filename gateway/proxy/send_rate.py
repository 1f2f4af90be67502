"""`SendRate`: whether a client reads what has been written to it fast enough."""

import asyncio

from gateway.proxy.min_data_rate import MinDataRate


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
