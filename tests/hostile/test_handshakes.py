"""Connections for TLS count from the moment they are taken, whether their handshake comes or not."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from time import process_time

import pytest
import trustme

from gateway.settings.intake import Intake
from tests.kit.identity import make_identity
from tests.proxy.running import Running, proxy
from tests.waiting import DEADLINE, until
from tests.wire import Client, get, upstream

MUTE = 300
STRANGERS = make_identity(trusted_proxies=(ip_network("10.0.0.0/8"),))
AUTHORITY = trustme.CA()
SERVING = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
AUTHORITY.issue_cert("127.0.0.1").configure_cert(SERVING)
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)


async def holds(running: Running, held: int) -> None:
    await until(lambda: running.server.held == held)


@asynccontextmanager
async def mute(running: Running, number: int) -> AsyncIterator[list[Client]]:
    """So many that connect and never say hello."""
    streams = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(number)]
    try:
        yield [Client(*stream) for stream in streams]
    finally:
        for _, writer in streams:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("intake", "cause"),
    [
        (Intake(max_connections=MUTE), "too_many"),
        (Intake(max_connections_per_address=MUTE), "too_many_of_one"),
    ],
)
async def test_hundreds_that_never_say_hello_count_and_more_are_closed_at_once(intake: Intake, cause: str) -> None:
    async with upstream() as up, proxy(up.port, ssl=SERVING, intake=intake, identity=STRANGERS) as running:
        async with mute(running, MUTE):
            await holds(running, MUTE)
            for _ in range(50):
                with pytest.raises(OSError):  # noqa: PT011 - a reset, or an end in the middle of the handshake
                    await asyncio.open_connection("127.0.0.1", running.port, ssl=TRUSTING)
            assert running.seen.causes == [cause] * 50
            assert running.server.held == MUTE
            assert not running.server.connections
        await holds(running, 0)
        assert running.server._held == {}
        async with Client.connect(running.port, ssl=TRUSTING) as client:
            assert (await client.ask(get())).status == 200


async def test_a_handshake_that_does_not_come_is_given_up_and_makes_room() -> None:
    intake = Intake(max_connections=MUTE, head_timeout=0.3)
    async with upstream() as up, proxy(up.port, ssl=SERVING, intake=intake) as running, mute(running, MUTE) as clients:
        for client in clients:
            assert await client.closed() == b""
        await holds(running, 0)
        assert running.seen.causes == ["handshake"] * MUTE
        async with Client.connect(running.port, ssl=TRUSTING) as client:
            assert (await client.ask(get())).status == 200


async def test_others_are_served_while_hundreds_say_nothing() -> None:
    async with upstream() as up, proxy(up.port, ssl=SERVING) as running, mute(running, MUTE):
        for _ in range(20):
            async with Client.connect(running.port, ssl=TRUSTING) as client:
                assert (await client.ask(get())).status == 200


async def test_what_is_no_tls_is_no_connection() -> None:
    async with upstream() as up, proxy(up.port, ssl=SERVING) as running:
        async with Client.connect(running.port) as client:
            await client.send(get())
            assert b"HTTP/" not in await client.closed()
        await holds(running, 0)
        assert running.seen.causes == ["handshake"]
    assert up.requests == []


async def test_a_connection_counts_once_and_until_it_is_gone() -> None:
    async with upstream() as up, proxy(up.port, ssl=SERVING, identity=STRANGERS) as running:
        for _ in range(5):
            async with Client.connect(running.port, ssl=TRUSTING) as client:
                assert (await client.ask(get())).status == 200
                assert running.server.held == len(running.server.connections) == 1
            await holds(running, 0)
        assert running.server._held == {}


async def test_without_a_descriptor_those_who_wait_are_taken_later() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    loop = asyncio.get_running_loop()
    async with upstream() as up, proxy(up.port, ssl=SERVING) as running:
        with socket.socket() as sock:
            sock.setblocking(False)
            lowest = os.dup(sock.fileno())
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                await loop.sock_connect(sock, ("127.0.0.1", running.port))
                used = process_time()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(holds(running, 1), 0.5)
                assert process_time() - used < 0.4, "it rests"
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await holds(running, 1)
        await holds(running, 0)


async def test_a_handshake_under_way_is_finished_when_the_gateway_leaves() -> None:
    async with upstream() as up, proxy(up.port, ssl=SERVING) as running, Client.connect(running.port) as client:
        await holds(running, 1)
        draining = asyncio.create_task(running.server.drain(DEADLINE))
        await client.writer.start_tls(TRUSTING, server_hostname="127.0.0.1")
        answer = await client.ask(get())
        assert (answer.status, answer.one(b"connection")) == (200, b"close")
        assert await client.closed() == b""
        client.writer.close()
        assert await draining == 0


async def shake_hands(running: Running) -> None:
    async with Client.connect(running.port, ssl=TRUSTING) as client:
        assert (await client.ask(get())).status == 200


async def test_handshakes_begin_at_their_pace_and_requests_are_served_meanwhile() -> None:
    intake, loop = Intake(max_handshakes=50), asyncio.get_running_loop()
    async with (
        upstream() as up,
        proxy(up.port, ssl=SERVING, intake=intake) as running,
        Client.connect(running.port, ssl=TRUSTING) as client,
    ):
        begun = loop.time()
        storm = asyncio.gather(*(shake_hands(running) for _ in range(20)))
        await until(lambda: running.server.held > 5)
        assert (await client.ask(get())).status == 200
        assert not storm.done()
        await storm
        assert loop.time() - begun >= (20 - 2) / 50
    assert running.seen.causes == []


async def test_a_client_that_leaves_takes_no_turn_and_one_whose_turn_does_not_come_is_closed() -> None:
    intake = Intake(max_handshakes=2, head_timeout=0.3)
    async with upstream() as up, proxy(up.port, ssl=SERVING, intake=intake) as running:
        await shake_hands(running)
        async with mute(running, 3) as clients:
            for client in clients:
                await client.send(b"\x16\x03\x01")
            await holds(running, 3)
            clients[0].writer.transport.abort()
            for client in clients[1:]:
                assert await client.closed() == b""
        await holds(running, 0)
    assert running.seen.causes == ["too_many_handshakes"] * 3
