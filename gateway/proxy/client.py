"""`Client`: the client of a connection, as an exchange deals with it."""

import asyncio
from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

from gateway.proxy.peer import Peer
from gateway.proxy.pinned_connections import PinnedConnections
from gateway.proxy.request_parser import RequestParser
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake

HALF_CLOSE_TIMEOUT = 5.0
"""Seconds in which a response has to begin, or a tunnel to go on, after the client has closed its half."""

_RESET = pack("ii", 1, 0)
"""Linger for 0 seconds: close() resets the connection."""


class Client:
    """Takes bytes for the client, and gives those that it sends in a tunnel.

    Args:
        transport: Leads to it.
        peer: Who it is.
        intake: What is taken from it.
        requests: Where its bytes come in.
        coalescer: Carries out what is written.

    Attributes:
        transport: As above; None once the connection is lost.
        peer: As above.
        intake: As above.
        pinned: Connections to upstreams that belong to this one; None before there are any.
        writing_paused: Whether it takes bytes more slowly than they come.
        on_pause: Called with True when that begins, with False when it has caught up. Set by whoever is writing.
        half_closed: Whether it has closed its half after a whole request.
        on_eof: Called when it closes its half of a tunnel. Set by the tunnel.
    """

    __slots__ = (
        "_coalescer",
        "_drained",
        "_requests",
        "half_closed",
        "intake",
        "on_eof",
        "on_pause",
        "peer",
        "pinned",
        "transport",
        "writing_paused",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        peer: Peer,
        intake: Intake,
        requests: RequestParser,
        coalescer: WriteCoalescer,
    ) -> None:
        self.transport: asyncio.Transport | None = transport
        self.peer = peer
        self.intake = intake
        self.pinned: PinnedConnections | None = None
        self.writing_paused = False
        self.on_pause: Callable[[bool], None] | None = None
        self.half_closed = False
        self.on_eof: Callable[[], None] | None = None
        self._requests = requests
        self._coalescer = coalescer
        self._drained: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection is not lost."""
        return self.transport is not None

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens when the client is gone."""
        if self.transport is not None:
            self._coalescer.post(self.transport, data)

    async def drain(self) -> None:
        """Wait until the client takes more bytes, or is gone."""
        if self.writing_paused and self.transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def pause_writing(self, paused: bool) -> None:
        """The client takes bytes more slowly than they come, or has caught up."""
        self.writing_paused = paused
        if not paused:
            self._end_drain()
        if self.on_pause is not None:
            self.on_pause(paused)

    def pause_reading(self, paused: bool) -> None:
        """Take no bytes from a tunnel, or take them again."""
        if self.transport is None:
            return
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def open_tunnel(self, on_data: Callable[[bytes], None], on_eof: Callable[[], None]) -> None:
        """Have called what takes the client's bytes from now on, and what is to be done when it closes its half."""
        self.on_eof = on_eof
        self._requests.switch(on_data)
        if self.half_closed:
            on_eof()

    def abort(self, *, reset: bool) -> None:
        """Break the connection; with `reset` the client sees that even where a close would end the response."""
        transport = self.transport
        if transport is None:
            return
        if reset and not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        transport.abort()

    def lost(self) -> None:
        """The connection is lost."""
        self.transport = None
        self._end_drain()
        if self.pinned is not None:
            self.pinned.close()

    def _end_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
