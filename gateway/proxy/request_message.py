"""`RequestMessage`: a request's head, as it was parsed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import HttpVersion, HttpVersion11
from multidict import CIMultiDictProxy


@dataclass(init=False, slots=True, eq=False)
class RequestMessage:
    """A request's head, read once of what aiohttp's parser made of it.

    Attributes:
        method: Such as GET.
        target: As it was sent.
        version: Of the protocol.
        is_http11: Whether that is HTTP/1.1.
        headers: By name, in any case.
        raw_headers: The same as bytes, in order.
        upgrade: Whether the client asks for another protocol.
        chunked: Whether the body comes in chunks.
        is_last: Whether no other request can follow on the same connection. HTTP/1.0 has no reliable way to say that a
            connection persists (RFC 9112 appendix C.2.2). After a request to switch protocols the client may already
            speak the other protocol, whatever the response (RFC 9931).
    """

    method: Final[str]
    target: Final[str]
    version: Final[HttpVersion]
    is_http11: Final[bool]
    headers: Final[CIMultiDictProxy[str]]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    upgrade: Final[bool]
    chunked: Final[bool]
    is_last: Final[bool]

    def __init__(self, parsed: Any) -> None:  # its C parser makes another class than its annotations say
        self.method = parsed.method
        self.target = parsed.path
        self.version = parsed.version
        self.is_http11 = self.version is HttpVersion11 or self.version == HttpVersion11
        self.headers = parsed.headers
        self.raw_headers = parsed.raw_headers
        self.upgrade = parsed.upgrade
        self.chunked = parsed.chunked
        self.is_last = self.upgrade or not self.is_http11 or bool(parsed.should_close)

    @property
    def head_size(self) -> int:
        """Bytes of the request line and the headers, with their line ends."""
        request_line = len(self.method) + len(self.target) + len("  HTTP/1.1\r\n")
        return request_line + sum(len(name) + len(value) + len(": \r\n") for name, value in self.raw_headers)

    def replace_raw(self, removed: frozenset[bytes], added: Iterable[tuple[bytes, bytes]]) -> None:
        """Replace raw headers: those with these lower-case names by others."""
        kept = [header for header in self.raw_headers if header[0].lower() not in removed]
        self.raw_headers = (*kept, *added)
