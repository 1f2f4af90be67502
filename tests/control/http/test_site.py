"""What the control plane responds to requests that cannot be read."""

import json

import pytest

from tests.control.running import gateway
from tests.wire import Client


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /healthz?" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: /" + b"a" * 9_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n", 400),
    ],
)
async def test_a_request_that_cannot_be_read_gets_a_problem_that_quotes_nothing(raw: bytes, status: int) -> None:
    async with gateway() as running, Client.connect(running.control) as client:
        message = await client.ask(raw)
        assert (message.status, message.one(b"content-type")) == (status, b"application/problem+json; charset=utf-8")
        problem = json.loads(message.body)
        assert problem["status"] == status
        assert problem.get("detail", "the request is not valid HTTP") == "the request is not valid HTTP"
        assert await client.closed() == b""
