"""`RedisConnection`: one connection to Redis, with one request at a time.

redis-py connects, logs in, and finds the master; then its connection becomes ours. Its own way to send a command and to
read a reply takes locks, streams and a timer for each, and costs three times as much CPU.
"""

import asyncio
from typing import Any, Final

from hiredis import HiredisError, Reader
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLostError

_NOTHING: Final = object()


class RedisConnection(asyncio.Protocol):
    """A connection to Redis. Whatever goes wrong between a request and the last byte of its replies closes it.

    Args:
        connection: Connected, and with no reply outstanding.
        timeout: Seconds that the replies to a request may take.

    Attributes:
        is_open: Whether it can carry a request.
    """

    __slots__ = (
        "_expected",
        "_future",
        "_loop",
        "_reader",
        "_replies",
        "_timeout",
        "_transport",
        "_writer",
        "is_open",
    )

    def __init__(self, connection: AbstractConnection, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._reader = Reader(notEnoughData=_NOTHING)
        self._replies: list[Any] = []
        self._expected = 0
        self._future: asyncio.Future[list[Any]] | None = None
        # redis-py has no other way to hand over a connection; it takes itself to be closed from now on.
        writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        if writer is None:
            raise ConnectionLostError("Redis closed the connection")
        self._writer = writer  # its finalizer would close the transport
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self.is_open = True

    async def execute(self, commands: bytes, replies: int) -> list[Any]:
        """Send packed commands and return so many replies; an error is a `hiredis.ReplyError` among them.

        Raises:
            ConnectionLostError: a reply is missing; the commands may or may not have been executed.
        """
        self._expected, self._replies = replies, []
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._future = future
        timer = self._loop.call_later(self._timeout, self._fail, "Redis did not answer in time")
        try:
            self._transport.write(commands)
            return await future
        except BaseException:
            self.close()
            raise
        finally:
            self._future = None
            timer.cancel()

    def close(self) -> None:
        """Close at once."""
        self.is_open = False
        self._transport.abort()

    def _fail(self, reason: str) -> None:
        self.close()
        if self._future is not None and not self._future.done():
            self._future.set_exception(ConnectionLostError(reason))

    # What asyncio calls.

    def data_received(self, data: bytes) -> None:
        future, replies, read = self._future, self._replies, self._reader.gets
        if future is None or future.done():
            self._fail("Redis sent a reply to no request")
            return
        self._reader.feed(data)
        try:
            while (reply := read()) is not _NOTHING:
                replies.append(reply)
        except HiredisError as error:
            self._fail(f"Redis sent an invalid reply: {error}")
            return
        if len(replies) < self._expected:
            return
        if len(replies) > self._expected or self._reader.has_data():
            self._fail("Redis sent a reply to no request")
        else:
            future.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"Redis closed the connection: {exc}" if exc else "Redis closed the connection")
