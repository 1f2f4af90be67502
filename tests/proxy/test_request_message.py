"""What is read of a parsed head: whether another request may follow, its size, and its raw headers."""

import asyncio

import pytest

from gateway.proxy.request_message import RequestMessage
from gateway.proxy.request_parser import RequestParser
from gateway.settings.intake import Intake


async def read(head: bytes) -> RequestMessage:
    parser = RequestParser(asyncio.get_running_loop(), Intake())
    parser.data_received(head)
    message, _ = parser.pop()
    return message


@pytest.mark.parametrize(
    ("version", "header", "is_last"),
    [
        ("1.1", "A: b", False),
        ("1.1", "Connection: close", True),
        ("1.1", "Connection: upgrade\r\nUpgrade: websocket", True),
        ("1.0", "A: b", True),
        ("1.0", "Connection: keep-alive", True),
    ],
)
async def test_another_request_may_follow_in_http_1_1_unless_the_client_says_otherwise(
    version: str, header: str, is_last: bool
) -> None:
    message = await read(f"GET / HTTP/{version}\r\nHost: a\r\n{header}\r\n\r\n".encode())
    assert (message.is_last, message.is_http11) == (is_last, version == "1.1")


async def test_the_size_of_a_head_is_that_of_its_lines() -> None:
    head = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    assert (await read(head + b"\r\n")).head_size == len(head)


async def test_raw_headers_are_replaced_however_they_are_spelled() -> None:
    message = await read(b"GET / HTTP/1.1\r\nHost: a\r\nTraceParent: 1\r\nB: c\r\ntraceparent: 2\r\n\r\n")
    message.replace_raw(frozenset({b"traceparent"}), [(b"traceparent", b"3")])
    assert message.raw_headers == ((b"Host", b"a"), (b"B", b"c"), (b"traceparent", b"3"))
