"""The parts of an upstream's response, and the framing of its body."""

import re
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from gateway.limiter.verdict import Outcome
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.responses import BAD_GATEWAY, Response
from gateway.settings.url import Origin

RawHeaders = list[tuple[bytes, bytes]]


class ForwardError(Exception):
    """The upstream's response is missing or incomplete.

    Attributes:
        response: For the client, if no part of the upstream's response has been sent.
        outcome: What became of the request.
        reason: Why, if it was the upstream; None if it was the client.
        cause: What is wrong with the request, if it was that.
        origin: Which of its servers, if there was a connection.
        host: Which address of it.
        replayable: Whether nothing was received on a connection that had been used before: the upstream probably closed
            it while it was idle, without reading the request.
    """

    def __init__(
        self,
        message: str,
        response: Response = BAD_GATEWAY,
        outcome: Outcome = Outcome.UPSTREAM_ERROR,
        *,
        reason: FailureReason | None = None,
        cause: BadRequest | None = None,
        replayable: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.cause = cause
        self.origin: Origin | None = None
        self.host = ""
        self.response = response if cause is None else cause.response
        self.outcome = outcome if cause is None else Outcome.BAD_REQUEST
        self.replayable = replayable

    @property
    def label(self) -> str:
        """Why, as a label; empty if the client is gone."""
        if self.cause is not None:
            return self.cause.reason
        return self.reason.value if self.reason is not None else ""


class Framing(Enum):
    """How the length of a body is determined (RFC 9112 section 6.3)."""

    NONE = 1
    LENGTH = 2
    CHUNKED = 3
    CLOSE = 4


class ResponseReader(Protocol):
    """Receives a response as it comes: a `ResponseRelay`, which knows the connection, which must not know it."""

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        """A 1xx response other than 101: the final one follows."""

    def head(self, status: int, reason: bytes, headers: RawHeaders, framing: Framing, length: bytes) -> None:
        """The head of the final response. `length` is its Content-Length, empty if it has none."""

    def piece(self, data: bytes) -> None:
        """A piece of the body."""

    def flush(self) -> None:
        """All bytes that have arrived have been parsed; more will follow."""

    def end(self) -> None:
        """The response is complete."""

    def upgraded(self) -> None:
        """The response was a 101: pieces are bytes of another protocol from now on, until `end`."""

    def fail(self, error: ForwardError) -> None:
        """There is no response, or it is incomplete."""


CONTROL_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding", b"keep-alive"})
"""Headers that say how a body is framed, and how long the connection stays open. `SPECIAL_NAMES` has all of them."""
_TIMEOUT: Final = re.compile(rb"(?<![\w-])timeout[ \t]*=[ \t]*\"?([0-9]{1,9})", re.IGNORECASE)

_SWITCHING: Final = 101
WITHOUT_CONTENT: Final = (204, 304)
"""Statuses of responses that never have content."""


class AmbiguousFramingError(ValueError):
    """A response whose end could be determined in different ways."""


def read_framing(method: str, status: int, headers: RawHeaders, version: Callable[[], str]) -> tuple[Framing, bytes]:
    """The framing of a response's body, and its Content-Length if it has one (RFC 9112 section 6.3).

    Args:
        method: Of the request.
        status: Of the response.
        headers: Its control headers, named in lower case.
        version: Returns its version, such as 1.1; called only if that matters, since the parser makes a text of it.

    Raises:
        AmbiguousFramingError: the framing is given twice, or in a way that a client might not understand.
    """
    length: bytes | None = None
    chunked = False
    for name, value in headers:
        if name == b"content-length":
            if length is not None or not value.isdigit():
                raise AmbiguousFramingError("its Content-Length")
            length = value.lstrip(b"0") or b"0"
        elif name == b"transfer-encoding":
            # Another coding would be lost in forwarding, and HTTP/1.0 has none (sections 6.1 and 7).
            if chunked or value.lower() != b"chunked" or version() != "1.1":
                raise AmbiguousFramingError("its Transfer-Encoding")
            chunked = True
    if chunked and length is not None:
        raise AmbiguousFramingError("Content-Length and Transfer-Encoding")
    if method == "HEAD" or status in WITHOUT_CONTENT or status == _SWITCHING:
        return Framing.NONE, length or b""
    if chunked:
        return Framing.CHUNKED, b""
    return (Framing.CLOSE, b"") if length is None else (Framing.LENGTH, length)


def announces_content(headers: RawHeaders) -> bool:
    """Whether there would be content after a head with these control headers, if its status allowed it."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False


def persists(headers: RawHeaders, version: str) -> bool:
    """Whether the connection stays open after a response with these headers, as sent (RFC 9112 section 9.3)."""
    options = {
        option.strip(b" \t").lower()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    return b"close" not in options and (version == "1.1" or b"keep-alive" in options)


def read_keep_alive(headers: RawHeaders) -> int | None:
    """Seconds for which the upstream keeps the connection open: its `Keep-Alive: timeout=N` (RFC 2068 section 19.7.1).

    The least if there are several; None if it does not say. The headers are named in lower case.
    """
    least = None
    for name, value in headers:
        if name == b"keep-alive":
            for digits in _TIMEOUT.findall(value):
                least = int(digits) if least is None else min(least, int(digits))
    return least
