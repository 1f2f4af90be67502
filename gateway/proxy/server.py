"""`Server`: makes the connections of clients up to a limit, and drains without breaking any."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from gateway.limits.address import UNIX, Address, Unix, group
from gateway.limits.identity_source import Certificate
from gateway.proxy.client_connection import STRANGER, ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import Peer, peer_address
from gateway.proxy.request_id import RequestIds
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake


class Server:
    """Makes a `ClientConnection` for each client, and keeps a set of them.

    Args:
        handle: Handles a request.
        intake: Limits on connections and requests.
        observer: Notified of connections that were rejected or cut off.
        trusts: Whether an address is a trusted proxy's, which connects for many clients.
        ids: Makes the ids of requests.
        only_trusted: Whether nobody else is admitted.
        refuse_with: See `Client`.

    Attributes:
        draining: Whether responses tell clients to close their connections.
        held: The number of connections, including those on which no HTTP has begun yet.
        connections: The connections, without those.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        observer: RequestObserver,
        trusts: Callable[[Address | Unix | None], bool],
        ids: RequestIds,
        *,
        only_trusted: bool = False,
        refuse_with: HTTPStatus | None = None,
    ) -> None:
        self._handle = handle
        self._ids = ids
        self._only_trusted = only_trusted
        self._refuse_with = refuse_with
        self._intake = intake
        self._observer = observer
        self._trusts = trusts
        self._loop = asyncio.get_running_loop()
        self._coalescer = WriteCoalescer(self._loop)
        self._held: dict[str, int] = {}
        self._empty: asyncio.Future[None] | None = None
        self.draining = False
        self.held = 0
        self.connections: set[ClientConnection] = set()

    def __call__(self) -> ClientConnection:
        return self.connection(self._meet)

    def connection(self, meet: Callable[[asyncio.Transport], Peer | str]) -> ClientConnection:
        """Make a connection; once it has a transport, `meet` returns its peer, or why it is rejected."""
        return ClientConnection(
            self._handle, self._intake, self._observer, meet, self._ids, self._coalescer, self._refuse_with,
            self._open, self._close,
        )  # fmt: skip

    def _meet(self, transport: asyncio.Transport) -> Peer | str:
        address = peer_address(transport.get_extra_info("socket"), transport.get_extra_info("peername"))
        return self.admit(address) or self.peer(address, "http")

    def peer(self, address: Address | Unix | None, scheme: str, certificate: Certificate | None = None) -> Peer:
        """The other end of a connection that comes from this address, with this certificate."""
        return Peer(address, str(address or ""), scheme, self._trusts(address), certificate)

    def end_certified(self) -> None:
        """Let the connections end whose clients have a certificate: what verifies it has changed."""
        for connection in self.connections:
            if connection.client.peer.certificate is not None:
                connection.finish()

    def _open(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        if self.draining:
            connection.finish()

    def _close(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.release(connection.client.peer.address)

    def admit(self, peer: Address | Unix | None) -> str | None:
        """Count a new connection. Returns why it is rejected, or None; a rejected one is not counted."""
        if self.held >= self._intake.max_connections:
            return "too_many"
        cause = self.admit_from(peer)
        if cause is None:
            self.held += 1
        return cause

    def admit_from(self, peer: Address | Unix | None) -> str | None:
        """Count a connection for an address only. Returns as `admit`."""
        if self._only_trusted and not self._trusts(peer):
            return STRANGER
        holder = self._holder(peer)
        if holder is not None:
            held = self._held.get(holder, 0)
            if held >= self._intake.max_connections_per_address:
                return "too_many_of_one"
            self._held[holder] = held + 1
        return None

    def release(self, peer: Address | Unix | None) -> None:
        """Count a connection no more, since it is closed."""
        self.held -= 1
        holder = self._holder(peer)
        if holder is not None:
            left = self._held.pop(holder, 1) - 1
            if left:
                self._held[holder] = left
        if self._empty is not None and not self.held and not self._empty.done():
            self._empty.set_result(None)

    def _holder(self, peer: Address | Unix | None) -> str | None:
        """Whom a connection counts for; None on a Unix socket, and for a trusted proxy, which connects for many."""
        return None if peer is None or peer == UNIX or self._trusts(peer) else group(peer)

    async def drain(self, deadline: float) -> int:
        """Let the connections end: responses say `Connection: close`, and idle connections are closed after a while.

        Args:
            deadline: Seconds after which the remaining connections are aborted.

        Returns:
            How many connections had to be aborted.
        """
        self.draining = True
        for connection in self.connections:
            connection.finish()
        await self._wait_empty(deadline)
        left = self.held
        await self.shutdown(0.1)
        return left

    async def shutdown(self, seconds: float) -> None:
        """Close all connections; the requests in flight have `seconds` to end."""
        await asyncio.gather(*(connection.shutdown(seconds) for connection in self.connections))

    async def _wait_empty(self, seconds: float) -> None:
        if self.held:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=seconds)
