"""`RequestMessage`: a request's head, as aiohttp's parser hands it over."""

from typing import Protocol, Self

from aiohttp import HttpVersion
from multidict import CIMultiDictProxy


class RequestMessage(Protocol):
    """What aiohttp's two classes for it have in common: the C parser's, and `RawRequestMessage`, a tuple in Python."""

    @property
    def method(self) -> str:
        """Such as GET."""

    @property
    def path(self) -> str:
        """The request target, as it was sent."""

    @property
    def version(self) -> HttpVersion:
        """Of the protocol."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """By name, in any case."""

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The same as bytes, in order."""

    @property
    def should_close(self) -> bool:
        """Whether the connection ends after the response."""

    @property
    def upgrade(self) -> bool:
        """Whether the client asks for another protocol."""

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""

    def _replace(self, *, raw_headers: tuple[tuple[bytes, bytes], ...]) -> Self: ...
