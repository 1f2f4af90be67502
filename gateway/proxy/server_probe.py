"""Requests of a worker's own to a server of an upstream, which show whether it works."""

import asyncio
from http import HTTPStatus

from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError, Framing, RawHeaders


async def request_anything(connection: UpstreamConnection, seconds: float) -> None:
    """Send `OPTIONS *`, which asks nothing of an application (RFC 9110 section 9.3.7); any response will do.

    Raises:
        ForwardError: no head of a response came in so many seconds.
    """
    await _request(connection, "OPTIONS", "*", seconds)


async def check_health(connection: UpstreamConnection, path: str, seconds: float) -> None:
    """GET a path. A status of 200 to 399 is healthy.

    Raises:
        ForwardError: no head of a response came in so many seconds, or its status is another one.
    """
    status = await _request(connection, "GET", path, seconds)
    if not HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        raise ForwardError(f"the health check {path} got {status}", reason=FailureReason.UNHEALTHY)


async def _request(connection: UpstreamConnection, method: str, target: str, seconds: float) -> int:
    reader = _Reader()
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: {connection.origin.authority}\r\n"
        "User-Agent: gateway-health-check\r\nConnection: close\r\n\r\n"
    )
    connection.start(method, head.encode(), reader)
    connection.expect(seconds, seconds)
    return await reader.responded


class _Reader:
    """Waits for the head of a response."""

    def __init__(self) -> None:
        self.responded: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        """The final response follows."""

    def head(self, status: int, reason: bytes, headers: RawHeaders, framing: Framing, length: bytes) -> None:  # noqa: ARG002 - a ResponseReader's
        """The server responds."""
        if not self.responded.done():
            self.responded.set_result(status)

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
