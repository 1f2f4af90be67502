"""Upstreams on a Unix socket: real servers, several URLs, and what goes wrong."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from gateway.settings.url import Origin
from tests.kit.process import Process
from tests.proxy.running import proxy
from tests.waiting import until
from tests.wire import Client, ask, get, upstream

SERVERS = Path(__file__).parent / "servers"
COMMANDS = {
    "gunicorn": (sys.executable, "-m", "gunicorn", "tests.proxy.servers.wsgi:app", "-b", "unix:PATH"),
    "node": ("node", SERVERS / "unix.js", "PATH"),
    "go": ("go", "run", SERVERS / "unix.go", "PATH"),
}
NEEDS = [
    "gunicorn",
    pytest.param("node", marks=pytest.mark.needs("node")),
    pytest.param("go", marks=pytest.mark.needs("go")),
]


def at(*paths: Path | str) -> tuple[Origin, ...]:
    return tuple(Origin.parse(f"unix:{path}" if isinstance(path, Path) else path) for path in paths)


@pytest.mark.parametrize("server", NEEDS)
async def test_real_servers_are_reached_and_get_and_send_all_bytes(server: str, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    command = [str(part).replace("PATH", str(path)) for part in COMMANDS[server]]
    async with Process.start(*command) as process, proxy(urls=at(path)) as running:
        await process.says("(?i)listening")
        async with Client.connect(running.port) as client:
            for size in (1, 3_000_000, 10):
                body = bytes(size // 2) + b"x" * (size - size // 2)
                head = f"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {size}\r\n\r\n"
                message = await client.ask(head.encode() + body)
                assert (message.status, message.body == body) == (200, True)
                assert message.one(b"seen-host") == b"gw.test"


@pytest.mark.parametrize(("send_host", "host"), [("client", b"gw.test"), ("upstream", b"localhost")])
async def test_the_host_is_the_clients_or_localhost(send_host: str, host: bytes, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    async with upstream(port=path) as up, proxy(urls=at(path), send_host=send_host) as running:
        async with Client.connect(running.port) as client:
            for _ in range(2):
                assert (await client.ask(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")).status == 200
        assert [request.one(b"host") for request in up.requests] == [host, host]
        assert up.connections == 1  # it is kept


async def test_it_may_be_one_of_several_urls_and_one_that_is_dead_is_skipped(tmp_path: Path) -> None:
    alive, dead = tmp_path / "app.sock", tmp_path / "dead.sock"
    async with upstream() as tcp, upstream(port=alive) as unix:
        urls = at(alive, f"http://127.0.0.1:{tcp.port}", dead)
        async with proxy(urls=urls) as running:
            for _ in range(12):
                assert (await ask(running.port, get())).status == 200
        assert len(tcp.requests) + len(unix.requests) == 12
        assert min(len(tcp.requests), len(unix.requests)) >= 3
        assert len(running.seen.unreachable) == 1


async def test_a_server_that_is_not_there_is_a_502_and_its_socket_is_named(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    async with proxy(urls=at(path)) as running:
        assert (await ask(running.port, get())).status == 502
        assert f"unix:{path} cannot be reached" in str(running.seen.unreachable)


async def test_a_server_whose_backlog_is_full_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(str(path))
        listening.listen(0)
        first.connect(str(path))
        async with proxy(urls=at(path), connect_timeout=0.3, eject_time=0.0) as running:
            assert (await ask(running.port, get())).status == 504
        async with proxy(urls=at(path)) as running:
            asking = asyncio.create_task(ask(running.port, get()))
            await until(lambda: running.server.held == 1)
            accepted, _ = listening.accept()
            accepted.close()
            listening.setblocking(False)
            second, _ = await asyncio.get_running_loop().sock_accept(listening)
            with second:
                second.setblocking(False)
                await asyncio.get_running_loop().sock_sendall(second, b"HTTP/1.1 204 No Content\r\n\r\n")
                assert (await asking).status == 204
