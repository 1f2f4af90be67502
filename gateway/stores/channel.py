"""`Channel`: how calls of scripts reach Redis, over redis-py.

The rules:

* Nothing is sent twice. A call whose answer was lost may have happened; it fails. The one exception is NOSCRIPT, which
  says that nothing happened: then the script's text is sent.
* A connection belongs to one caller from the question to the last byte of the answer. When something goes wrong in
  between, it is closed, so nobody ever reads another's answer.
* Whatever goes wrong, what comes out is a `StoreAwayError`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from hiredis import pack_command
from redis.asyncio.connection import Connection, ConnectionPool
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from gateway.stores.port import StoreAwayError
from gateway.stores.scripts import Call

Answer = list[int] | StoreAwayError
"""What a script returned, or why it did not."""


class Channel(Protocol):
    """Sends calls, and brings back an answer for each."""

    async def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Run scripts; they may run at the same time. Never raises but when it is cancelled."""

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command, for what no request waits for.

        Raises:
            StoreAwayError: it may or may not have happened.
        """

    async def close(self) -> None:
        """Close all connections."""


def away(error: BaseException) -> StoreAwayError:
    """What any failure of redis-py means to us."""
    failure = StoreAwayError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def evalsha(call: Call) -> tuple[Any, ...]:
    """The command that runs a script the server knows."""
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.arguments)


def evaluate(call: Call) -> tuple[Any, ...]:
    """The command that runs a script the server does not know yet."""
    return ("EVAL", call.script.text, len(call.keys), *call.keys, *call.arguments)


def checked(reply: object) -> Answer:
    """A script's reply, if it is one."""
    if isinstance(reply, list) and reply and all(type(number) is int for number in reply):
        return reply
    return StoreAwayError(f"this is not our script's answer: {reply!r:.80}")


class PooledChannel:
    """One server, or the master that Sentinels point to.

    Args:
        pool: Connections to it.
        close: Closes what else is open.
    """

    def __init__(self, pool: ConnectionPool, close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._pool = pool
        self._close = close

    async def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Run scripts one after the other, in one round trip."""
        try:
            return await self._run(calls)
        except Exception as error:  # noqa: BLE001 - redis-py's failures have no common class
            return [away(error)] * len(calls)

    async def _run(self, calls: Sequence[Call]) -> list[Answer]:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(b"".join(pack_command(evalsha(call)) for call in calls))
            replies = [await _reply(connection) for _ in calls]
            unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                again = b"".join(pack_command(evaluate(calls[place])) for place in unknown)
                await connection.send_packed_command(again)
                for place in unknown:
                    replies[place] = await _reply(connection)
            if any(isinstance(reply, ReadOnlyError) for reply in replies):
                # A name that points to the master may point to another one by now.
                await connection.disconnect()
        finally:
            await self._pool.release(connection)
        return [away(reply) if isinstance(reply, Exception) else checked(reply) for reply in replies]

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command."""
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.send_command(*words)
                return await connection.read_response()
            finally:
                await self._pool.release(connection)
        except Exception as error:
            raise away(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
        if self._close is not None:
            await self._close()


async def _reply(connection: Connection) -> Any:
    """The next reply; an error that is a reply, and leaves the connection in step, is one too."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
