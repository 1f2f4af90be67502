"""A connection switched to another protocol (WebSocket, RFC 6455): the client's bytes on their way to the upstream.

The other way needs nothing new: the answer's `Relay` goes on writing what comes.

The tunnel ends when the upstream closes its half. A client that closes its own first may be waiting for the upstream's
last bytes: they have `HALF_CLOSE_TIMEOUT` seconds to come, and as many between any two.
"""

from gateway.proxy.client import HALF_CLOSE_TIMEOUT, Client
from gateway.proxy.upstream_connection import UpstreamConnection


class Tunnel:
    """Sends the client's bytes on unread.

    Args:
        client: Whose request has been answered with 101.
        connection: The upstream's side.
        timeout: Seconds without a byte either way after which the tunnel is closed.
    """

    __slots__ = ("_connection", "_timeout")

    def __init__(self, client: Client, connection: UpstreamConnection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        connection.on_pause = client.pause_reading
        connection.expect(timeout, timeout)
        client.open_tunnel(self._send, self._half_close)

    def _send(self, data: bytes) -> None:
        self._connection.write(data)
        self._connection.expect(self._timeout, self._timeout)

    def _half_close(self) -> None:
        self._connection.write_eof()
        self._connection.expect(HALF_CLOSE_TIMEOUT, HALF_CLOSE_TIMEOUT)
