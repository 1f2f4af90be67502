"""The gateway's own responses. Each is the same bytes every time, so that it tells a client nothing but its status.

Only X-Request-ID differs, which is random.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple

STATUS_HEADER: Final = "X-Gateway-Status"
"""The status that a response would have if the proxy that asks at a door understood more than a few."""


class Response(NamedTuple):
    """A whole response, ready to be written.

    Attributes:
        status: Its status code.
        head: Status line and headers, without the empty line that ends them.
        body: Left out when the request was HEAD.
    """

    status: int
    head: bytes
    body: bytes

    @classmethod
    def of(cls, status: HTTPStatus, text: str = "", content_type: str = "text/plain; charset=utf-8") -> "Response":
        """The response for a status; without another text, its body is its reason phrase."""
        body = (text or f"{status.phrase}\n").encode()
        head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        return cls(status, f"{head}Content-Length: {len(body)}\r\n".encode(), body)

    def with_header(self, line: bytes) -> "Response":
        """The same with one more header line."""
        return self._replace(head=self.head + line)

    @lru_cache(maxsize=256)  # noqa: B019 - of values that are equal if they are the same bytes
    def disguised(self, status: HTTPStatus) -> "Response":
        """The same with another status, and its own in X-Gateway-Status."""
        own = f"HTTP/1.1 {self.status} ".encode()
        _, _, rest = self.head.removeprefix(own).partition(b"\r\n")
        line = f"HTTP/1.1 {status} {status.phrase}\r\n{STATUS_HEADER}: {self.status}\r\n"
        return Response(status, line.encode() + rest, self.body)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its headers, without the Content-Length."""
        lines = self.head.decode().splitlines()[1:]
        pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return [pair for pair in pairs if pair[0] != "Content-Length"]

    def encode(self, headers: bytes = b"", *, bodiless: bool = False, close: bool = False) -> bytes:
        """The bytes of the response, with more header lines; with `close`, it says `Connection: close`."""
        last = b"Connection: close\r\n" if close else b""
        return b"%b%b%b\r\n%b" % (self.head, headers, last, b"" if bodiless else self.body)


BAD_REQUEST: Final = Response.of(HTTPStatus.BAD_REQUEST)
FORBIDDEN: Final = Response.of(HTTPStatus.FORBIDDEN)
METHOD_NOT_ALLOWED: Final = Response.of(HTTPStatus.METHOD_NOT_ALLOWED)
REQUEST_TIMEOUT: Final = Response.of(HTTPStatus.REQUEST_TIMEOUT)
CONTENT_TOO_LARGE: Final = Response.of(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
TARGET_TOO_LONG: Final = Response.of(HTTPStatus.REQUEST_URI_TOO_LONG)
HEAD_TOO_LARGE: Final = Response.of(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
INTERNAL_ERROR: Final = Response.of(HTTPStatus.INTERNAL_SERVER_ERROR)
BAD_GATEWAY: Final = Response.of(HTTPStatus.BAD_GATEWAY)
UNAVAILABLE: Final = Response.of(HTTPStatus.SERVICE_UNAVAILABLE)
GATEWAY_TIMEOUT: Final = Response.of(HTTPStatus.GATEWAY_TIMEOUT)
LOOP_DETECTED: Final = Response.of(HTTPStatus.LOOP_DETECTED)
VERSION_NOT_SUPPORTED: Final = Response.of(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
