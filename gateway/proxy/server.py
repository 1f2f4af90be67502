"""`Server`: aiohttp's low-level server, with our connections, and able to leave without breaking any."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from gateway.config.settings import Intake
from gateway.limits.address import Address, group
from gateway.proxy.client import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.outbox import Outbox
from gateway.proxy.witness import Witness


class Server(web.Server):
    """Makes a `ClientConnection` for each client, and keeps a list of them.

    Args:
        handle: Answers a request.
        intake: What is taken from clients.
        witness: Is told which connections were not taken, or cut off.
        trusts: Whether an address is a trusted proxy's, behind which there are many clients.

    Attributes:
        draining: Whether answers tell clients to close their connections.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        witness: Witness,
        trusts: Callable[[Address | None], bool],
    ) -> None:
        super().__init__(cast("Any", handle))
        self._handle = handle
        self._intake = intake
        self._witness = witness
        self._trusts = trusts
        self._outbox = Outbox(self._loop)
        self._held: dict[str, int] = {}
        self._empty: asyncio.Future[None] | None = None
        self.draining = False

    def __call__(self) -> ClientConnection:
        connection = ClientConnection(
            self, self._handle, self._intake, self._witness, self._admit, self._trusts, self._outbox
        )
        if self.draining:
            connection.finish()
        return connection

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:  # noqa: ARG002
        """Forget a connection at once; aiohttp waits for its handler, which may outlive the client."""
        self._connections.pop(handler, None)
        holder = self._holder(cast("ClientConnection", handler).peer)
        if holder is not None:
            left = self._held.pop(holder, 1) - 1
            if left:
                self._held[holder] = left
        if self._empty is not None and not self._connections and not self._empty.done():
            self._empty.set_result(None)

    def _admit(self, peer: Address | None) -> str | None:
        """Count a new connection. Returns why it cannot be taken, if it cannot."""
        if len(self._connections) >= self._intake.max_connections:
            return "too_many"
        holder = self._holder(peer)
        if holder is not None:
            held = self._held.get(holder, 0)
            if held >= self._intake.max_connections_per_address:
                return "too_many_of_one"
            self._held[holder] = held + 1
        return None

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
        for client in self._clients:
            client.finish()
        await self._wait_empty(deadline)
        left = len(self._connections)
        await self.shutdown(0.1)
        return left

    @property
    def _clients(self) -> list[ClientConnection]:
        return cast("list[ClientConnection]", self.connections)

    async def _wait_empty(self, seconds: float) -> None:
        if self._connections:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=seconds)
