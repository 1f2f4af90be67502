"""A connection switched to another protocol (WebSocket, RFC 6455): the client's bytes on their way to the upstream.

The other way needs nothing new: the answer's `Relay` goes on writing what comes.

The tunnel ends when the upstream closes its half. A client that closes its own first may be waiting for the upstream's
last bytes: they have `HALF_CLOSED` seconds to come, and as many between any two.
"""

from gateway.proxy.client_connection import HALF_CLOSED, ClientConnection
from gateway.proxy.upstream_connection import UpstreamConnection


class Tunnel:
    """Takes the client's bytes from aiohttp, as a payload parser does, and sends them on unread.

    Args:
        client: The client's connection, whose request has been answered with 101.
        connection: The upstream's side.
        timeout: Seconds without a byte either way after which the tunnel is closed.
    """

    __slots__ = ("_client", "_connection", "_timeout")

    def __init__(self, client: ClientConnection, connection: UpstreamConnection, timeout: float) -> None:
        self._client = client
        self._connection = connection
        self._timeout = timeout
        connection.on_pause = self._hold
        client.on_eof = self._half_close
        connection.expect(timeout, timeout)
        client.set_parser(self)  # type: ignore[arg-type] # aiohttp calls feed_data and feed_eof, no more
        if client.half_closed:
            self._half_close()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes from the client."""
        self._connection.write(data)
        self._connection.expect(self._timeout, self._timeout)
        return False, b""

    def feed_eof(self) -> None:
        """The client is gone; whoever waits for the exchange to end is told by the exchange."""

    def _half_close(self) -> None:
        self._connection.write_eof()
        self._connection.expect(HALF_CLOSED, HALF_CLOSED)

    def _hold(self, paused: bool) -> None:
        transport = self._client.transport
        if transport is None:
            return
        if paused:
            transport.pause_reading()
        else:
            transport.resume_reading()
