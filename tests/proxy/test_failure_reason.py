"""Each way in which an upstream fails has its reason, told with the server that failed."""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.proxy.failure_reason import FailureReason
from tests.proxy.running import proxy
from tests.wire import Conversation, ask, get, says, upstream


async def hang(talk: Conversation) -> None:
    await talk.request()
    await talk.reader.read()


async def stop_in_the_body(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    await talk.reader.read()


async def close(talk: Conversation) -> None:
    await talk.request()
    talk.writer.close()


async def reset(talk: Conversation) -> None:
    await talk.request()
    talk.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.writer.transport.abort()


async def greet(talk: Conversation) -> None:
    await talk.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await talk.reader.read()


@pytest.mark.parametrize(
    ("script", "reason", "status"),
    [
        (hang, "head_timeout", 504),
        (stop_in_the_body, "idle_timeout", 200),
        (close, "closed", 502),
        (reset, "reset", 502),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "malformed", 502),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "malformed", 502),
        (says(b"\x15\x03\x03\x00\x02\x02\x46"), "tls_on_http", 502),
    ],
)
async def test_a_failure_after_connecting_is_reported_once_with_server_and_reason(
    script: Callable[[Conversation], object], reason: str, status: int
) -> None:
    async with (
        upstream(script) as up,  # type: ignore[arg-type]
        proxy(up.port, head_timeout=0.3, idle_timeout=0.3) as running,
    ):
        try:
            assert (await ask(running.port, get())).status == status
        except (asyncio.IncompleteReadError, ConnectionResetError):
            assert status == 200, "the response was cut off"
        ((address, found, why),) = running.seen.upstream_failures
        assert (address, found) == (f"http://127.0.0.1:{up.port}", reason), why


async def test_a_failure_to_connect_has_its_reason(reserve: Callable[[], int]) -> None:
    async with proxy(reserve()) as running:
        assert (await ask(running.port, get())).status == 502
        assert [found for _, found, _ in running.seen.upstream_failures] == ["refused"]


async def test_a_server_without_tls_on_an_https_url_is_told_apart() -> None:
    async with (
        upstream(greet) as up,
        proxy(up.port, scheme="https", verify=False) as running,
    ):
        assert (await ask(running.port, get())).status == 502
        assert [found for _, found, _ in running.seen.upstream_failures] == ["no_tls"]


def test_every_reason_is_explained_to_operators() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    assert all(f"`{reason.value}`" in text for reason in FailureReason)
