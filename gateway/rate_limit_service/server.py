"""`GrpcServer`: the door on which an Envoy asks for decisions by descriptors."""

import asyncio

from gateway.limits.address import Address, Unix, belongs
from gateway.proxy.client_connection import STRANGER
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import peer_address
from gateway.rate_limit_service.grpc_connection import GrpcConnection
from gateway.rate_limit_service.grpc_message import GrpcError, GrpcStatus
from gateway.rate_limit_service.messages import METHOD
from gateway.rate_limit_service.service import MalformedError, RateLimitService
from gateway.settings.door import RateLimit


class GrpcServer:
    """Makes a `GrpcConnection` for each client, and keeps a set of them.

    Args:
        door: Who may ask.
        service: Answers.
        observer: Notified of connections that were rejected, and of calls that failed.
        max_connections: How many there are at most.

    Attributes:
        held: The number of connections.
    """

    def __init__(
        self, door: RateLimit, service: RateLimitService, observer: RequestObserver, max_connections: int
    ) -> None:
        self._door = door
        self._service = service
        self._observer = observer
        self._max_connections = max_connections
        self._connections: set[GrpcConnection] = set()
        self._empty: asyncio.Event = asyncio.Event()
        self._draining = False

    def __call__(self) -> GrpcConnection:
        return GrpcConnection(self._call, self._fail, self._open, self._close)

    @property
    def held(self) -> int:
        return len(self._connections)

    async def _call(self, path: str, message: bytes) -> bytes:
        if path != METHOD:
            raise GrpcError(GrpcStatus.UNIMPLEMENTED, "this is the rate limit service of Envoy's API, version 3")
        try:
            return await self._service.should_rate_limit(message)
        except MalformedError as error:
            raise GrpcError(GrpcStatus.INVALID_ARGUMENT, str(error)) from None

    def _fail(self, error: Exception) -> None:
        self._observer.failed("", 0, error)

    def _open(self, connection: GrpcConnection, transport: asyncio.Transport) -> bool:
        peer = peer_address(transport.get_extra_info("socket"), transport.get_extra_info("peername"))
        cause = self._cause(peer)
        if cause is not None:
            self._observer.rejected(cause)
            return False
        self._connections.add(connection)
        if self._draining:
            asyncio.get_running_loop().call_soon(connection.finish)
        return True

    def _cause(self, peer: Address | Unix | None) -> str | None:
        """Why a connection is rejected, or None."""
        if not belongs(peer, self._door.from_):
            return STRANGER
        return "too_many" if len(self._connections) >= self._max_connections else None

    def _close(self, connection: GrpcConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def drain(self, deadline: float) -> int:
        """As `Server.drain`."""
        self._draining = True
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            self._empty.clear()
            try:
                async with asyncio.timeout(deadline):
                    await self._empty.wait()
            except TimeoutError:
                pass
        left = list(self._connections)
        for connection in left:
            connection.abort()
        return len(left)
