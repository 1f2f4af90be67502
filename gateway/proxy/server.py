"""`Server`: the connections of clients, taken up to a limit, and drained without breaking any."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.limits.address import Address, group
from gateway.proxy.client_connection import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.observer import RequestObserver
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake


class Server:
    """Makes a `ClientConnection` for each client, and keeps a set of them.

    Args:
        handle: Answers a request.
        intake: What is taken from clients.
        observer: Is told which connections were not taken, or cut off.
        trusts: Whether an address is a trusted proxy's, behind which there are many clients.

    Attributes:
        draining: Whether answers tell clients to close their connections.
        held: Connections there are, those included whose TLS handshake is under way.
        connections: Those without these.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        observer: RequestObserver,
        trusts: Callable[[Address | None], bool],
    ) -> None:
        self._handle = handle
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
        return self.expect(self.admit)

    def expect(self, admit: Callable[[Address | None], str | None]) -> ClientConnection:
        """A connection that is about to be made; `admit` is asked when it is, and says why it cannot be taken."""
        return ClientConnection(
            self._handle, self._intake, self._observer, admit, self._trusts, self._coalescer, self._open, self._close
        )

    def _open(self, connection: ClientConnection) -> None:
        """Note a connection; it is told to be short if we are leaving."""
        self.connections.add(connection)
        if self.draining:
            connection.finish()

    def _close(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.release(connection.client.peer.address)

    def admit(self, peer: Address | None) -> str | None:
        """Count a new connection. Returns why it cannot be taken, if it cannot; then it is not counted."""
        if self.held >= self._intake.max_connections:
            return "too_many"
        holder = self._holder(peer)
        if holder is not None:
            held = self._held.get(holder, 0)
            if held >= self._intake.max_connections_per_address:
                return "too_many_of_one"
            self._held[holder] = held + 1
        self.held += 1
        return None

    def release(self, peer: Address | None) -> None:
        """A connection that was counted is gone."""
        self.held -= 1
        holder = self._holder(peer)
        if holder is not None:
            left = self._held.pop(holder, 1) - 1
            if left:
                self._held[holder] = left
        if self._empty is not None and not self.held and not self._empty.done():
            self._empty.set_result(None)

    def _holder(self, peer: Address | None) -> str | None:
        """The client whose connection it is; None for a proxy, which holds those of many."""
        return None if peer is None or self._trusts(peer) else group(peer)

    async def drain(self, deadline: float) -> int:
        """Let the connections end: answers say so, and those that idle are closed after a while.

        Args:
            deadline: Seconds before the rest is broken off.

        Returns:
            How many connections had to be broken off.
        """
        self.draining = True
        for connection in self.connections:
            connection.finish()
        await self._wait_empty(deadline)
        left = self.held
        await self.shutdown(0.1)
        return left

    async def shutdown(self, seconds: float) -> None:
        """Break off all connections; requests under way have so many seconds to notice."""
        await asyncio.gather(*(connection.shutdown(seconds) for connection in self.connections))

    async def _wait_empty(self, seconds: float) -> None:
        if self.held:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=seconds)
