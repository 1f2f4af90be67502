"""`request_anything`: asks a server whether it responds at all."""

import asyncio

from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError, Framing, RawHeaders


async def request_anything(connection: UpstreamConnection, seconds: float) -> None:
    """Send `OPTIONS *`, which asks nothing of an application (RFC 9110 section 9.3.7); any response will do.

    Raises:
        ForwardError: no head of a response came in so many seconds.
    """
    reader = _Reader()
    head = f"OPTIONS * HTTP/1.1\r\nHost: {connection.origin.authority}\r\nConnection: close\r\n\r\n"
    connection.start("OPTIONS", head.encode(), reader)
    connection.expect(seconds, seconds)
    await reader.responded


class _Reader:
    """Waits for the head of a response."""

    def __init__(self) -> None:
        self.responded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        """The final response follows."""

    def head(self, status: int, reason: bytes, headers: RawHeaders, framing: Framing, length: bytes) -> None:  # noqa: ARG002 - a ResponseReader's
        """The server responds."""
        if not self.responded.done():
            self.responded.set_result(None)

    def piece(self, data: bytes) -> None:
        """Of no interest."""

    def flush(self) -> None:
        """Of no interest."""

    def end(self) -> None:
        """Of no interest."""

    def upgraded(self) -> None:
        """Never asked for."""

    def fail(self, error: ForwardError) -> None:
        """There is no response."""
        if not self.responded.done():
            self.responded.set_exception(error)
