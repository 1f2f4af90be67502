"""`Permit`: tells a proxy that asks at a door that its client's request may pass."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from gateway.limiter.verdict import Outcome
from gateway.proxy.allowed import Allowed
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import OVER_LIMIT_HEADER
from gateway.proxy.responses import Response
from gateway.settings.door import Known

_TELLS: Mapping[Known, Callable[[Allowed], str]] = {
    "caller": lambda allowed: allowed.caller.digest.decode(),
    "tier": lambda allowed: allowed.tier,
    "source": lambda allowed: allowed.caller.source,
    "endpoint": lambda allowed: allowed.endpoint.name,
}

_HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{OVER_LIMIT_HEADER}: "
_PLAIN = Response(HTTPStatus.OK, f"{_HEAD}\r\n".encode(), b"")


class Permit:
    """Responds with 200, without a body, and with headers for the upstream.

    Each header is there each time, if need be with an empty value: a proxy that copies it to the request then replaces
    what its client sent under that name. So is X-Over-Limit, with the limits that the request is over.

    Args:
        headers: What is told, by header.
    """

    __slots__ = ("_tell",)

    def __init__(self, headers: Mapping[str, Known]) -> None:
        self._tell = [(f"{name}: ", _TELLS[known]) for name, known in headers.items()]

    async def forward(self, exchange: Exchange, allowed: Allowed) -> Outcome:
        """Respond to a request that may pass."""
        if not self._tell and exchange.over is None:
            exchange.respond(_PLAIN)
        else:
            told = ", ".join(exchange.over.told) if exchange.over is not None else ""
            lines = [name + tell(allowed) for name, tell in self._tell]
            exchange.respond(Response(HTTPStatus.OK, "\r\n".join([_HEAD + told, *lines, ""]).encode(), b""))
        return Outcome.ALLOWED
