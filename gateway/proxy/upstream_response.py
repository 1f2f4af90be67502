"""What an upstream's answer consists of, and who takes it as it comes."""

from enum import Enum
from typing import Protocol

from gateway.limiter.verdict import Outcome
from gateway.proxy.responses import BAD_GATEWAY, Response

RawFields = list[tuple[bytes, bytes]]


class ForwardError(Exception):
    """A request was not answered by the upstream, or not to the end.

    Attributes:
        answer: What the client is told if it has not been told anything yet.
        outcome: Whose fault it is.
        replayable: Nothing of an answer came on a connection that had been used before: the upstream had closed it
            while it was idle, and has most likely not read the request.
    """

    def __init__(
        self,
        reason: str,
        answer: Response = BAD_GATEWAY,
        outcome: Outcome = Outcome.UPSTREAM_ERROR,
        *,
        replayable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.answer = answer
        self.outcome = outcome
        self.replayable = replayable


class Framing(Enum):
    """How the end of a body is known (RFC 9112 section 6.3)."""

    NONE = 1
    LENGTH = 2
    CHUNKED = 3
    CLOSE = 4


class ResponseReader(Protocol):
    """Takes an answer as it comes."""

    def interim(self, status: int, reason: bytes, fields: RawFields) -> None:
        """A 1xx answer other than 101: the final one follows."""

    def head(self, status: int, reason: bytes, fields: RawFields, framing: Framing, length: bytes) -> None:
        """The head of the final answer. `length` is its Content-Length, empty if it has none."""

    def piece(self, data: bytes) -> None:
        """A piece of the body."""

    def flush(self) -> None:
        """All that has come so far has been reported; more will follow."""

    def end(self) -> None:
        """The answer is complete, and all of it has been reported."""

    def upgraded(self) -> None:
        """The head was a 101: from here on pieces are bytes of another protocol, until `end`."""

    def fail(self, error: ForwardError) -> None:
        """There is no answer, or not all of it."""


_SWITCHING = 101
_WITHOUT_BODY = (204, 304)


class AmbiguousFramingError(ValueError):
    """An answer whose end readers would see in different places."""


def read_framing(method: str, status: int, fields: RawFields, version: str) -> tuple[Framing, bytes]:
    """How the end of an answer's body is known, and its Content-Length if it has one (RFC 9112 section 6.3).

    Raises:
        AmbiguousError: it says so twice, or in a way that the client would not understand.
    """
    length: bytes | None = None
    chunked = False
    for name, value in fields:
        lower = name.lower()
        if lower == b"content-length":
            if length is not None or not value.isdigit():
                raise AmbiguousFramingError("its Content-Length")
            length = value.lstrip(b"0") or b"0"
        elif lower == b"transfer-encoding":
            # Another coding would be lost on the way, and HTTP/1.0 has none (sections 6.1 and 7).
            if chunked or value.lower() != b"chunked" or version != "1.1":
                raise AmbiguousFramingError("its Transfer-Encoding")
            chunked = True
    if chunked and length is not None:
        raise AmbiguousFramingError("Content-Length and Transfer-Encoding")
    if method == "HEAD" or status in _WITHOUT_BODY or status == _SWITCHING:
        return Framing.NONE, length or b""
    if chunked:
        return Framing.CHUNKED, b""
    return (Framing.CLOSE, b"") if length is None else (Framing.LENGTH, length)
