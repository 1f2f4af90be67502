"""Accepting connections, and stopping without losing one."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack

import pytest
import trustme

from tests.proxy.running import proxy
from tests.waiting import DEADLINE
from tests.wire import Client, get, upstream

AUTHORITY = trustme.CA()
SERVING = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
AUTHORITY.issue_cert("127.0.0.1").configure_cert(SERVING)
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)


@pytest.mark.parametrize("tls", [None, SERVING], ids=["http", "https"])
async def test_connections_that_wait_are_served_before_the_socket_is_closed(tls: ssl.SSLContext | None) -> None:
    async with upstream() as up, proxy(up.port, ssl=tls) as running:
        # The event loop does not run meanwhile, so that the kernel alone has them.
        waiting = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
        await running.listening.finish()
        draining = asyncio.create_task(running.server.drain(DEADLINE))
        for each in waiting:
            options = {"ssl": TRUSTING, "server_hostname": "127.0.0.1"} if tls else {}
            client = Client(*await asyncio.open_connection(sock=each, **options))  # type: ignore[arg-type]
            assert (await client.ask(get())).status == 200
            client.writer.transport.abort()
        assert await draining == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))


@pytest.mark.parametrize("tls", [None, SERVING], ids=["http", "https"])
async def test_hundreds_that_connect_at_once_are_accepted_in_a_few_iterations(tls: ssl.SSLContext | None) -> None:
    """Otherwise the last one would wait for as many iterations as there are connections, each full of requests."""
    async with proxy(1, ssl=tls) as running, AsyncExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
        iterations = 0
        while running.server.held < 300:
            await asyncio.sleep(0)
            iterations += 1
        assert iterations < 30
