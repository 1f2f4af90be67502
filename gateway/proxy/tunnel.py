"""`Tunnel`: a connection switched to another protocol (WebSocket, RFC 6455), from the client to the upstream.

In the other direction, `ResponseRelay` goes on writing what the upstream sends.

The tunnel ends when the upstream closes its half. A client that closes its half first may be waiting for the upstream's
last bytes: the first may take `HALF_CLOSE_TIMEOUT` seconds, and so may each one after it.
"""

from gateway.proxy.client import HALF_CLOSE_TIMEOUT, Client
from gateway.proxy.upstream_connection import UpstreamConnection


class Tunnel:
    """Passes the client's bytes on to the upstream as they are.

    Args:
        client: The client, which has received a 101 response.
        connection: The connection to the upstream.
        timeout: Seconds without a byte in either direction after which the tunnel is closed.
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
