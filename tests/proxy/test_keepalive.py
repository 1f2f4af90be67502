"""A kept connection is closed before the upstream closes it, and does not grow older than it may."""

import asyncio
from pathlib import Path

import pytest

from gateway.proxy.upstream_response import read_keep_alive
from gateway.settings.upstream import Upstream
from tests.kit.process import Process
from tests.proxy.running import proxy
from tests.waiting import DEADLINE
from tests.wire import OK, Client, Conversation, ask, get, says, upstream

NODES_KEEP_ALIVE = 5.0
"""Seconds for which servers of Node.js and of uvicorn keep an idle connection."""


def ok(keep_alive: str) -> bytes:
    return OK.replace(b"\r\n", f"\r\nConnection: keep-alive\r\nKeep-Alive: {keep_alive}\r\n".encode(), 1)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ((), None),
        (("timeout=5",), 5),
        (("Timeout = 5, max=100",), 5),
        (("max=100, timeout=15",), 15),
        (('timeout="7"',), 7),
        (("timeout=60", "timeout=3"), 3),
        (("timeout=",), None),
        (("timeout=-1",), None),
        (("x-timeout=1",), None),
        (("max=5",), None),
        (("timeout=" + "9" * 60_000,), 999_999_999),
    ],
)
def test_the_time_that_an_upstream_keeps_a_connection_is_read(values: tuple[str, ...], seconds: int | None) -> None:
    headers = [(b"connection", b"Keep-Alive"), *((b"keep-alive", value.encode()) for value in values)]
    assert read_keep_alive(headers) == seconds


def test_by_default_a_connection_is_kept_for_less_time_than_by_node_and_uvicorn() -> None:
    assert Upstream("default", ()).keepalive_time < NODES_KEEP_ALIVE


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_connection_that_the_upstream_keeps_for_a_second_or_less_is_not_used_again(
    seconds: int, method: str
) -> None:
    async with upstream(says(ok(f"timeout={seconds}"))) as up, proxy(up.port) as running:
        for _ in range(3):
            assert (await ask(running.port, get(method=method))).status == 200
    assert up.connections == 3


async def test_a_connection_that_the_upstream_keeps_for_longer_is_used_again() -> None:
    async with upstream(says(ok("timeout=60"))) as up, proxy(up.port) as running:
        for _ in range(3):
            assert (await ask(running.port, get())).status == 200
    assert up.connections == 1


async def test_an_idle_connection_is_closed_a_second_before_the_upstream_does_it() -> None:
    took: list[float] = []
    closed = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        began = asyncio.get_running_loop().time()
        await talk.send(ok("timeout=2"))
        assert await talk.reader.read() == b""
        took.append(asyncio.get_running_loop().time() - began)
        closed.set()

    async with upstream(script) as up, proxy(up.port, keepalive_time=60.0) as running:
        assert (await ask(running.port, get())).status == 200
        async with asyncio.timeout(DEADLINE):
            await closed.wait()
    assert 0.9 < took[0] < 2.0


async def test_a_connection_in_steady_use_is_replaced_when_it_has_its_age() -> None:
    async with upstream() as up, proxy(up.port, keepalive_age=0.2) as running:
        async with asyncio.timeout(DEADLINE):
            while up.connections < 3:
                assert (await ask(running.port, get(method="POST"))).status == 200
        assert len(up.requests) > 3, "it is used until then"


@pytest.mark.needs("node")
async def test_no_post_to_a_real_node_server_fails_when_its_connections_end(tmp_path: Path) -> None:
    server = tmp_path / "server.js"
    server.write_text(
        "const server = require('http').createServer((request, response) => response.end('ok'));\n"
        "server.keepAliveTimeout = 2000;\n"
        "server.listen(0, '127.0.0.1', () => console.log(server.address().port));\n"
    )
    async with Process.start("node", server) as process:
        port = int((await process.says(r"(?m)^(\d+)$"))[1])
        async with proxy(port, keepalive_time=60.0) as running:
            for pause in (0.0, 1.9, 2.0):
                await asyncio.sleep(pause)  # the moments at which Node closes
                assert (await ask(running.port, get(method="POST"))).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_body_may_take_longer_on_a_kept_connection_than_the_connection_may_be_idle(framing: str) -> None:
    def piece(text: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(text), text) if "chunked" in framing else text

    async with upstream() as up, proxy(up.port, keepalive_time=0.1) as running, Client.connect(running.port) as client:
        assert (await client.ask(get())).status == 200
        await client.send(get("/", framing, method="POST"))
        for _ in range(10):
            await client.send(piece(b"x"))
            await asyncio.sleep(0.05)  # a slow client
        if "chunked" in framing:
            await client.send(b"0\r\n\r\n")
        assert (await client.answer()).status == 200
    assert up.connections == 1, "both went over one connection"
    assert up.requests[1].body == b"x" * 10
