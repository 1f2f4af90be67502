"""`Via`: says in each request that it passed this gateway, and finds those that have passed it before.

RFC 9110 section 7.6.3 asks a gateway for this in requests, and leaves it free in responses: those go to the client with
the Via of the upstream and without ours, which would only tell clients what is behind the API.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from socket import gethostname
from typing import Final

from gateway.proxy.request_message import RequestMessage
from gateway.settings.gateway import Settings

_COMMENT: Final = re.compile(r"\([^()]*\)")


class Via:
    """The Via header of a gateway.

    Args:
        name: Its pseudonym. A request that comes with it has passed this gateway before, so every other gateway on the
            way needs a name of its own.
    """

    __slots__ = ("_http10", "_http11", "_name")

    def __init__(self, name: str) -> None:
        self._name = name.lower()
        self._http11 = f"Via: 1.1 {name}\r\n\r\n".encode()
        self._http10 = f"Via: 1.0 {name}\r\n\r\n".encode()

    def end_of_head(self, message: RequestMessage) -> bytes:
        """The line for a request that came without a Via header, with the empty line that ends a head."""
        return self._http11 if message.is_http11 else self._http10

    def append(self, received: Iterable[str], message: RequestMessage) -> bytes:
        """The same for a request that came with these values of Via: one line with all of them."""
        own = self.end_of_head(message)
        before = ", ".join(value for value in received if value).encode(errors="surrogateescape")
        return b"Via: %b, %b" % (before, own.removeprefix(b"Via: ")) if before else own

    def is_in(self, received: Iterable[str]) -> bool:
        """Whether this gateway is among the recipients that these values of Via name; comments name none."""
        return any(self._name in value.lower() and self._name in _recipients(value) for value in received)


def _recipients(value: str) -> set[str]:
    value = _without_comments(value.lower())
    return {parts[1] for element in value.split(",") if len(parts := element.split()) > 1}


def _without_comments(value: str) -> str:
    """Comments may be nested, one in the other."""
    while (shorter := _COMMENT.sub("", value)) != value:
        value = shorter
    return value


def pseudonym(*parts: object) -> str:
    """A name made of what tells a gateway apart from others, the same after each start."""
    return f"gateway-{sha256(repr(parts).encode()).hexdigest()[:12]}"


def via_of(settings: Settings) -> Via | None:
    """The Via header of a gateway with these settings; all its workers have the same. None if it adds none."""
    if settings.via in {"off", "false"}:
        return None
    urls = [upstream.urls for upstream in settings.upstreams.values()]
    return Via(pseudonym(gethostname(), settings.listen, urls) if settings.via == "auto" else settings.via)
