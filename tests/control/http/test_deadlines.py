"""Connections to the control plane that keep it waiting are closed; others are served meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.settings.intake import Intake
from tests.control.running import CHECK, gateway, limit, request, tls_listener
from tests.waiting import DEADLINE, at_most
from tests.wire import Client, get

SHORT = 0.3
NEVER = 4 * DEADLINE
BOUND = 10 * SHORT
QUESTION = request("POST", "/api/v1/check-limit", {"user_id": "ana", "endpoint": "order", "weight": 1}, token=CHECK)
AT_EVERY_POINT = pytest.mark.parametrize(
    "before", [b"", get("/healthz"), QUESTION], ids=["the first", "after a request", "after a question"]
)


def intake(*, head: float = NEVER, body: float = NEVER, idle: float = NEVER) -> Intake:
    return Intake(head_timeout=head, body_timeout=body, idle_timeout=idle)


@asynccontextmanager
async def trickling(client: Client, data: bytes) -> AsyncIterator[None]:
    """Send a byte every 50 ms while the block runs."""

    async def send() -> None:
        with suppress(ConnectionError):
            for n in range(len(data)):
                await client.send(data[n : n + 1])
                await asyncio.sleep(0.05)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()


@AT_EVERY_POINT
@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 5_000, b"\r\n" * 5_000, b"G"])
async def test_a_head_that_does_not_end_is_a_408_however_many_bytes_come(before: bytes, head: bytes) -> None:
    async with gateway(intake=intake(head=SHORT)) as running, Client.connect(running.control) as client:
        if before:
            assert (await client.ask(before)).status == 200
        async with trickling(client, head), at_most(BOUND):
            assert (await client.answer()).status == 408
            await client.closed()


async def test_a_head_that_begins_behind_another_request_has_the_same_deadline() -> None:
    async with gateway(intake=intake(head=SHORT)) as running, Client.connect(running.control) as client:
        await client.send(get("/healthz") + get("/healthz")[:30])
        assert (await client.answer()).status == 200
        async with trickling(client, b"y" * 5_000), at_most(BOUND):
            assert (await client.answer()).status == 408


@AT_EVERY_POINT
async def test_an_idle_connection_is_closed(before: bytes) -> None:
    async with gateway(intake=intake(idle=SHORT)) as running, Client.connect(running.control) as client:
        if before:
            assert (await client.ask(before)).status == 200
        async with at_most(BOUND):
            assert await client.closed() == b""


async def test_a_connection_in_use_stays_open_for_longer_than_any_deadline() -> None:
    short = intake(head=1.0, body=1.0, idle=1.0)
    async with gateway(intake=short) as running, Client.connect(running.control) as client:
        for _ in range(15):
            assert (await client.ask(get("/healthz"))).status == 200
            await asyncio.sleep(0.1)


async def test_a_body_that_trickles_is_a_408_and_ends_the_connection() -> None:
    async with gateway(limit("each", 1), intake=intake(body=SHORT)) as running, Client.connect(running.control) as slow:
        fields = ("Content-Type: application/json", "Content-Length: 5000", f"Authorization: Bearer {CHECK}")
        await slow.send(get("/api/v1/check-limit", *fields, method="POST"))
        async with trickling(slow, b" " * 5_000), at_most(BOUND):
            answer = await slow.answer()
            assert (answer.status, answer.one(b"Connection")) == (408, b"close")
            assert (await running.check("ana", "order"))["allowed"]  # others are served meanwhile


async def test_a_body_that_nobody_reads_is_not_taken_for_a_head() -> None:
    async with gateway(intake=intake(head=SHORT)) as running, Client.connect(running.control) as client:
        assert (await client.ask(get("/healthz", "Content-Length: 20"))).status == 200
        for _ in range(20):
            await client.send(b"y")
            await asyncio.sleep(0.05)
        assert (await client.ask(get("/healthz"))).status == 200


async def test_a_tls_handshake_and_a_head_within_tls_have_the_same_deadline(tmp_path: Path) -> None:
    listener, context = tls_listener(tmp_path)
    async with gateway(intake=intake(head=1.0), control={"listen": (listener,)}) as running:
        async with Client.connect(running.control) as silent, at_most(BOUND):
            assert await silent.closed() == b""
        hello = b"\x16\x03\x01\x20\x00\x01\x00\x1f\xfc\x03\x03" + bytes(5_000)
        async with Client.connect(running.control) as slow, trickling(slow, hello), at_most(BOUND):
            assert await slow.closed() == b""
        async with Client.connect(running.control, ssl=context) as client, at_most(BOUND):
            assert (await client.ask(get("/healthz"))).status == 200
            async with trickling(client, b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 5_000):
                assert (await client.answer()).status == 408
                await client.closed()
