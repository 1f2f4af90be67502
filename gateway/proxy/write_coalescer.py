"""`WriteCoalescer`: carries out all writes of one iteration of the event loop together, at its end.

Writing to a socket whose reader sleeps wakes it, which costs more than the write itself. A reader that has just been
woken is still awake for the next write, so the writes of one iteration go out one after the other. A large write goes
out at once, so that its memory can be used again.
"""

import asyncio
from typing import Final

_LARGE: Final = 16_384
"""Bytes from which a write is carried out at once."""


class WriteCoalescer:
    """Collects writes, and carries them out together, in their order.

    Args:
        loop: Whose iterations count.
    """

    __slots__ = ("_loop", "_writes")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._writes: list[tuple[asyncio.WriteTransport, bytes]] = []

    def write(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write bytes before the next iteration of the event loop, unless the transport is closed by then."""
        if not self._writes:
            self._loop.call_soon(self.flush)
        self._writes.append((transport, data))
        if len(data) >= _LARGE:
            self.flush()

    def flush(self) -> None:
        """Carry out all writes. Call this before a transport is closed after its last bytes."""
        writes, self._writes = self._writes, []
        for transport, data in writes:
            if not transport.is_closing():
                transport.write(data)
