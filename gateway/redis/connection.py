"""`RedisConnection`: one connection to Redis, on which one question is asked at a time.

redis-py connects, logs in, and finds the master; then its connection becomes ours. Its own way to send a command and
to read a reply goes through locks, streams and a timer for each, and costs three times as much CPU.
"""

import asyncio
from typing import Any

from hiredis import HiredisError, Reader
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLostError

_NOTHING = object()


class RedisConnection(asyncio.Protocol):
    """A connection to Redis. Whatever goes wrong between a question and the last byte of its answer closes it.

    Args:
        connection: Connected, and with no answer under way.
        patience: Seconds that an answer may take.

    Attributes:
        is_open: Whether it can carry a question.
    """

    __slots__ = (
        "_answer",
        "_loop",
        "_patience",
        "_reader",
        "_replies",
        "_transport",
        "_wanted",
        "_writer",
        "is_open",
    )

    def __init__(self, connection: AbstractConnection, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._reader = Reader(notEnoughData=_NOTHING)
        self._replies: list[Any] = []
        self._wanted = 0
        self._answer: asyncio.Future[list[Any]] | None = None
        # redis-py has no other way to hand over a connection; it takes itself for closed from now on.
        writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        if writer is None:
            raise ConnectionLostError("Redis closed the connection")
        self._writer = writer  # whose finalizer would close the transport
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self.is_open = True

    async def ask(self, question: bytes, replies: int) -> list[Any]:
        """Send commands, and wait for so many replies. One that is an error is a `hiredis.ReplyError` among them.

        Raises:
            ConnectionLostError: there is no answer, and it may or may not have happened.
        """
        self._wanted, self._replies = replies, []
        answer: asyncio.Future[list[Any]] = self._loop.create_future()
        self._answer = answer
        timer = self._loop.call_later(self._patience, self._fail, "Redis took too long to answer")
        try:
            self._transport.write(question)
            return await answer
        except BaseException:
            self.close()
            raise
        finally:
            self._answer = None
            timer.cancel()

    def close(self) -> None:
        """Close at once."""
        self.is_open = False
        self._transport.abort()

    def _fail(self, why: str) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLostError(why))

    # What asyncio calls.

    def data_received(self, data: bytes) -> None:
        answer, replies, read = self._answer, self._replies, self._reader.gets
        if answer is None or answer.done():
            self._fail("Redis said something unasked")
            return
        self._reader.feed(data)
        try:
            while (reply := read()) is not _NOTHING:
                replies.append(reply)
        except HiredisError as error:
            self._fail(f"Redis does not speak its protocol: {error}")
            return
        if len(replies) < self._wanted:
            return
        if len(replies) > self._wanted or self._reader.has_data():
            self._fail("Redis said something unasked")
        else:
            answer.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"Redis closed the connection: {exc}" if exc else "Redis closed the connection")
