"""Connections to upstreams that belong to one client's connection.

NTLM and Negotiate authenticate a connection and not a request (RFC 4559 section 6): who comes next on it has the rights
of who was there before. So a connection to an upstream on which such a scheme was spoken, by the request or by the
answer, is never free for anybody again:

* It is pinned to the client's connection. All that comes there for the same upstream goes over it, whatever credentials
  it carries, as it would without us. It is closed when the client's connection ends.
* A proxy in front of us may send requests of many users over one connection. There nothing is pinned, and the
  connection to the upstream is closed behind the answer. What needs several requests on one connection, as NTLM does,
  does not work behind such a proxy; Kerberos, where each request can carry a ticket, does.
"""

from gateway.proxy.pool import Pool
from gateway.proxy.upstream_connection import UpstreamConnection


class PinnedConnections:
    """The connections that are pinned to one client's, one for each upstream.

    Attributes:
        off: Whether nothing is pinned any more, since the client's connection carries requests of several users.
    """

    __slots__ = ("_pinned", "off")

    def __init__(self) -> None:
        self._pinned: dict[Pool, UpstreamConnection] = {}
        self.off = False

    def take(self, pool: Pool) -> UpstreamConnection | None:
        """The connection that is pinned, to be used for a request; None if there is none, or it is gone.

        Raises:
            ForwardError: too many connections to this upstream are in use.
        """
        connection = self._pinned.get(pool)
        if connection is None:
            return None
        if connection.open:
            pool.take_aside()
            del self._pinned[pool]
            return connection
        self._close(pool)
        return None

    def put(self, pool: Pool, connection: UpstreamConnection) -> None:
        """Pin a connection that was in use; it is closed if it cannot be used again, or too many are pinned."""
        if pool.set_aside(connection):
            self._pinned[pool] = connection

    def turn_off(self) -> None:
        """Pin nothing any more."""
        self.off = True
        self.close()

    def close(self) -> None:
        """Close them."""
        for pool in list(self._pinned):
            self._close(pool)

    def _close(self, pool: Pool) -> None:
        pool.drop_aside(self._pinned.pop(pool))
