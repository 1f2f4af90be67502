"""`WriteCoalescer`: bytes on their way out, written together at the end of a turn of the loop.

A write to a socket whose reader sleeps wakes it up, and that costs more than the write itself. Whoever has just been
woken is still awake for the next write; so the writes of one turn go out one behind the other. A large one goes at
once, for its memory is then free for what comes next.
"""

import asyncio

_LARGE = 16_384
"""Bytes that are worth a write by themselves."""


class WriteCoalescer:
    """Collects writes, in their order, and carries them out together.

    Args:
        loop: Whose turns count.
    """

    __slots__ = ("_loop", "_posts")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._posts: list[tuple[asyncio.WriteTransport, bytes]] = []

    def post(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write bytes before the next turn of the loop; not at all if the transport is closed by then."""
        if not self._posts:
            self._loop.call_soon(self.flush)
        self._posts.append((transport, data))
        if len(data) >= _LARGE:
            self.flush()

    def flush(self) -> None:
        """Write all that was posted. Call it before a transport is told to close behind its last bytes."""
        posts, self._posts = self._posts, []
        for transport, data in posts:
            if not transport.is_closing():
                transport.write(data)
