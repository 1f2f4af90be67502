"""A reserved port is free for its server, and for nobody else."""

import errno
import random
import socket

import pytest

from tests.kit.process import gateway
from tests.postgres_server import postgres_server
from tests.redis_server import redis_server
from tests.reserved_port import ReservedPort
from tests.wire import OK, ask, get, upstream


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port)).close()


def is_taken(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody who chooses ports as we do would leave this one alone."""
    with socket.socket() as other:
        try:
            other.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def test_a_port_is_held_and_refuses_connections_until_it_is_closed() -> None:
    with ReservedPort() as port:
        for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
            assert is_taken(port.number, host)
            assert is_taken(port.number + 10_000, host)
        with pytest.raises(ConnectionRefusedError):
            connect(port.number)
    assert not is_taken(port.number)


def test_two_who_choose_alike_get_different_ports() -> None:
    random.seed(1)
    with ReservedPort() as one:
        random.seed(1)
        with ReservedPort() as other:
            assert one.number != other.number


async def test_the_port_of_a_killed_redis_is_still_its_own() -> None:
    async with redis_server() as server:
        for _ in range(2):
            connect(server.port)
            server.kill()
            with pytest.raises(ConnectionRefusedError):
                connect(server.port)
            assert is_taken(server.port)
            await server.start()
    assert not is_taken(server.port)


async def test_the_port_of_a_killed_postgres_is_still_its_own() -> None:
    with postgres_server() as server:
        server.kill()
        assert is_taken(server.port)
        server.launch()
        connect(server.port)


async def test_a_gateway_of_two_workers_can_listen_on_a_reserved_port() -> None:
    with ReservedPort() as port:
        for _ in range(2):
            async with (
                redis_server() as redis,
                upstream() as up,
                gateway(
                    "--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--workers", "2",
                    "--listen", f"127.0.0.1:{port.number}",
                ) as (_, public, _control),
            ):  # fmt: skip
                assert public == port.number
                assert (await ask(public, get())).body == OK[-2:]
