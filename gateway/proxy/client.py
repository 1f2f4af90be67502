"""`Client`: the client connection as exchanges use it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Final

from gateway.proxy.peer import Peer
from gateway.proxy.pinned_connections import PinnedConnections
from gateway.proxy.request_parser import RequestParser
from gateway.proxy.responses import Response
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake

HALF_CLOSE_TIMEOUT = 5.0
"""Seconds for a response to begin, or for the next bytes of a tunnel, after the client has closed its half."""

_RESET: Final = pack("ii", 1, 0)
"""Linger for 0 seconds: close() resets the connection."""


@dataclass(slots=True, eq=False)
class Client:
    """What an exchange needs of its connection: the peer, writing with backpressure, and the bytes of a tunnel.

    Attributes:
        transport: The transport to the peer; None once the connection is lost.
        peer: The other end.
        intake: Limits on requests.
        requests: Parses the client's bytes.
        coalescer: Carries out writes.
        refuse_with: The status of all responses but a 200, for a peer that knows no other; None for each its own.
        pinned: Connections to upstreams that are used for this one only; None until there are any.
        writing_paused: Whether the transport's write buffer is full.
        on_pause: Called with True when it is full, and with False when there is room again. Set by the writer.
        half_closed: Whether the client has closed its half.
        on_eof: Called when the client closes its half of a tunnel.
    """

    transport: asyncio.Transport | None
    peer: Peer
    intake: Intake
    requests: RequestParser
    coalescer: WriteCoalescer
    refuse_with: HTTPStatus | None = None
    pinned: PinnedConnections | None = None
    writing_paused: bool = False
    on_pause: Callable[[bool], None] | None = None
    half_closed: bool = False
    on_eof: Callable[[], None] | None = None
    _drained: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection still exists."""
        return self.transport is not None

    def rephrase(self, response: Response) -> Response:
        """A response of the gateway's own, as this client understands it."""
        if self.refuse_with is None or response.status == HTTPStatus.OK:
            return response
        return response.disguised(self.refuse_with)

    def write(self, data: bytes) -> None:
        """Send bytes; does nothing if the connection is lost."""
        if self.transport is not None:
            self.coalescer.write(self.transport, data)

    async def drain(self) -> None:
        """Wait until the write buffer has room, or the connection is lost."""
        if self.writing_paused and self.transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def pause_writing(self, paused: bool) -> None:
        """The write buffer is full, or has room again."""
        self.writing_paused = paused
        if not paused:
            self._end_drain()
        if self.on_pause is not None:
            self.on_pause(paused)

    def pause_reading(self, paused: bool) -> None:
        """Pause or resume reading from the client."""
        if self.transport is None:
            return
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def open_tunnel(self, on_data: Callable[[bytes], None], on_eof: Callable[[], None]) -> None:
        """Pass the client's bytes to `on_data`, and call `on_eof` when it closes its half."""
        self.on_eof = on_eof
        self.requests.switch(on_data)
        if self.half_closed:
            on_eof()

    def abort(self, *, reset: bool) -> None:
        """Close the connection at once; with `reset`, so that the client cannot take it for the end of a response."""
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
