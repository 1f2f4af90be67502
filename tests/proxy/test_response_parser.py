"""Why a response cannot be passed on is said in words."""

import pytest

from gateway.proxy.response_parser import ResponseParser
from gateway.proxy.upstream_response import ForwardError, Framing, RawHeaders


class Ignoring:
    """Takes a response and keeps nothing."""

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None: ...

    def head(self, status: int, reason: bytes, headers: RawHeaders, framing: Framing, length: bytes) -> None: ...

    def piece(self, data: bytes) -> None: ...

    def flush(self) -> None: ...

    def end(self) -> None: ...

    def upgraded(self) -> None: ...

    def fail(self, error: ForwardError) -> None: ...


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300, "too many headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y" + b"z" * 70_000, "too large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "the head is too large"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 17, "too many interim responses"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "Duplicate Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "its Transfer-Encoding is ambiguous"),
        (b"HTTP/1.1 600 What\r\n\r\n", "the status code is invalid"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "Expected HTTP/"),
    ],
)
def test_the_reason_says_what_is_wrong(raw: bytes, why: str) -> None:
    parser = ResponseParser()
    parser.start("GET", Ignoring(), may_switch=False)
    with pytest.raises(ForwardError, match=why):
        parser.feed(raw)
