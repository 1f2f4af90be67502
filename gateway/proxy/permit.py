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


class Permit:
    """Responds with 200, without a body, and with headers for the upstream.

    Each header is there each time, if need be with an empty value: a proxy that copies it to the request then replaces
    what its client sent under that name. So is X-Over-Limit, with the limits that the request is over.

    Args:
        headers: What is told, by header.
    """

    __slots__ = ("_tell",)

    def __init__(self, headers: Mapping[str, Known]) -> None:
        self._tell = [(name, _TELLS[known]) for name, known in headers.items()]

    async def forward(self, exchange: Exchange, allowed: Allowed) -> Outcome:
        """Respond to a request that may pass."""
        lines = [f"{name}: {tell(allowed)}\r\n" for name, tell in self._tell]
        told = exchange.over.told if exchange.over is not None else ()
        lines.append(f"{OVER_LIMIT_HEADER}: {', '.join(told)}\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{''.join(lines)}"
        exchange.respond(Response(HTTPStatus.OK, head.encode(), b""))
        return Outcome.ALLOWED
