"""`PinnedConnections`: connections to upstreams that are used for one client connection only.

NTLM and Negotiate authenticate a connection and not a request (RFC 4559 section 6): the next request on it has the
rights of the one before. So a connection to an upstream on which such a scheme was used, by the request or by the
response, is never shared again:

* It is pinned to the client connection. All requests there for the same upstream go over it, whatever credentials they
  carry, as they would without the gateway. It is closed when the client connection ends.
* A proxy in front of the gateway may send requests of many users over one connection. There, nothing is pinned, and the
  connection to the upstream is closed after the response. Authentication that needs several requests on one connection,
  such as NTLM, does not work behind such a proxy; Kerberos, where each request can carry a ticket, does.
"""

from gateway.proxy.pool import Pool
from gateway.proxy.upstream_connection import UpstreamConnection


class PinnedConnections:
    """The connections that are pinned to one client connection, one for each upstream.

    Attributes:
        off: Whether nothing is pinned any more, because the client connection carries requests of several users.
    """

    __slots__ = ("_pinned", "off")

    def __init__(self) -> None:
        self._pinned: dict[Pool, UpstreamConnection] = {}
        self.off = False

    def take(self, pool: Pool) -> UpstreamConnection | None:
        """The pinned connection, for one request; None if there is none, or it is closed or has an old certificate.

        Raises:
            ForwardError: too many connections to this upstream are in use.
        """
        connection = self._pinned.get(pool)
        if connection is None:
            return None
        if connection.open and pool.is_current(connection):
            pool.take_pinned()
            del self._pinned[pool]
            return connection
        self._close(pool)
        return None

    def put(self, pool: Pool, connection: UpstreamConnection) -> None:
        """Pin a connection that was in use, or close it if it cannot be used again or too many are pinned."""
        if pool.pin(connection):
            self._pinned[pool] = connection

    def turn_off(self) -> None:
        """Close the pinned connections, and pin no more."""
        self.off = True
        self.close()

    def close(self) -> None:
        """Close the pinned connections."""
        for pool in list(self._pinned):
            self._close(pool)

    def _close(self, pool: Pool) -> None:
        pool.drop_pinned(self._pinned.pop(pool))
