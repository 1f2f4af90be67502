"""`RedisConnection`: an answer is whole and to what was asked, or the connection is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hiredis import ReplyError
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as ConnectionLostError

from gateway.redis.connection import RedisConnection
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, until
from tests.wire import Conversation, upstream

PING = b"*1\r\n$4\r\nPING\r\n"


@asynccontextmanager
async def connection_to(port: int, seconds: float = DEADLINE) -> AsyncIterator[RedisConnection]:
    connected = Connection(host="127.0.0.1", port=port, protocol=2, driver_info=None)
    await connected.connect()  # type: ignore[no-untyped-call]
    connection = RedisConnection(connected, seconds)
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def teller(*answers: bytes) -> AsyncIterator[int]:
    """Listens on a port, and says one thing after the other, each when it has been asked something."""

    async def tell(talk: Conversation) -> None:
        for answer in answers:
            await talk.reader.read(1000)
            await talk.send(answer)
        await talk.reader.read()

    async with upstream(tell) as served:
        yield served.port


async def test_there_are_as_many_replies_as_commands_and_errors_are_replies() -> None:
    async with redis_server() as server, connection_to(server.port) as connection:
        for _ in range(3):
            ping, error = await connection.execute(PING + b"*1\r\n$4\r\nNOPE\r\n", 2)
            assert ping == b"PONG"
            assert isinstance(error, ReplyError)
            assert connection.is_open


async def test_a_reply_may_come_in_pieces() -> None:
    async with redis_server() as server, connection_to(server.port) as connection:
        size = 5_000_000
        await connection.execute(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%b\r\n" % (size, b"x" * size), 1)
        assert await connection.execute(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n" + PING, 2) == [b"x" * size, b"PONG"]


@pytest.mark.parametrize(
    "answer",
    [b"+one\r\n+two\r\n", b"+one\r\n+tw", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["two replies", "a part of a second", "another protocol"],
)
async def test_a_reply_that_does_not_match_the_request_closes_the_connection(answer: bytes) -> None:
    async with teller(answer) as port, connection_to(port) as connection:
        with pytest.raises(ConnectionLostError):
            await connection.execute(PING, 1)
        assert not connection.is_open


async def test_a_reply_to_no_request_closes_the_connection() -> None:
    async with teller(b"+one\r\n", b"") as port, connection_to(port) as connection:
        assert await connection.execute(PING, 1) == [b"one"]
        connection.data_received(b"+two\r\n")
        assert not connection.is_open


async def test_a_reply_that_is_too_late_closes_the_connection() -> None:
    async with teller(b"+one\r\n", b"") as port, connection_to(port, seconds=0.05) as connection:
        assert await connection.execute(PING, 1) == [b"one"]
        with pytest.raises(ConnectionLostError, match="did not answer in time"):
            await connection.execute(PING, 1)
        assert not connection.is_open


async def test_a_cancelled_request_leaves_no_reply_for_the_next_one() -> None:
    async with teller(b"") as port, connection_to(port) as connection:
        asking = asyncio.create_task(connection.execute(PING, 1))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not connection.is_open


async def test_a_server_that_dies_closes_the_connection() -> None:
    async with redis_server() as server, connection_to(server.port) as connection:
        server.kill()
        await until(lambda: not connection.is_open)
