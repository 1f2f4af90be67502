"""`RedisClient`: how calls of scripts reach Redis.

The rules:

* Nothing is sent twice. A call whose answer was lost may have happened; it fails. The one exception is NOSCRIPT, which
  says that nothing happened: then the script's text is sent.
* A connection belongs to one caller from the question to the last byte of the answer. When something goes wrong in
  between, it is closed, so nobody ever reads another's answer.
* Whatever goes wrong, what comes out is a `StoreUnavailableError`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from hiredis import ReplyError, pack_command
from redis.asyncio.connection import ConnectionPool

from gateway.redis.connection import RedisConnection
from gateway.redis.port import StoreUnavailableError, unavailable
from gateway.redis.scripts import Call

MOST_LINES = 8
"""One carries the checks, one the signs of life; the others replace those that hang."""

Answer = list[int] | StoreUnavailableError
"""What a script returned, or why it did not."""


class RedisClient(Protocol):
    """Sends calls, and brings back an answer for each."""

    async def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Run scripts; they may run at the same time. Never raises but when it is cancelled."""

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command, for what no request waits for.

        Raises:
            StoreUnavailableError: it may or may not have happened.
        """

    async def close(self) -> None:
        """Close all connections."""


def evalsha(call: Call) -> tuple[Any, ...]:
    """The command that runs a script the server knows."""
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.arguments)


def evaluate(call: Call) -> tuple[Any, ...]:
    """The command that runs a script the server does not know yet."""
    return ("EVAL", call.script.text, len(call.keys), *call.keys, *call.arguments)


def checked(reply: object, call: Call) -> Answer:
    """What a script replied to a call, if that is what it would reply."""
    if isinstance(reply, Exception):
        return unavailable(reply)
    if isinstance(reply, list) and len(reply) == call.numbers and all(type(number) is int for number in reply):
        return reply
    return StoreUnavailableError(f"this is not our script's answer: {reply!r:.80}")


class PooledClient:
    """One server, or the master that Sentinels point to.

    Args:
        pool: Makes connections to it.
        patience: Seconds that an answer may take.
        close: Closes what else is open.
    """

    def __init__(
        self, pool: ConnectionPool, patience: float, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._pool = pool
        self._patience = patience
        self._close = close
        self._free: list[RedisConnection] = []
        self._taken = 0

    async def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Run scripts one after the other, in one round trip."""
        try:
            return [checked(reply, call) for reply, call in zip(await self._run(calls), calls, strict=True)]
        except Exception as error:  # noqa: BLE001 - redis-py's failures have no common class
            return [unavailable(error)] * len(calls)

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        replies = await self._ask([evalsha(call) for call in calls])
        unknown = [place for place, reply in enumerate(replies) if _is_unknown(reply)]
        if unknown:
            again = await self._ask([evaluate(calls[place]) for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command."""
        try:
            (reply,) = await self._ask([words])
        except Exception as error:
            raise unavailable(error) from error
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
        return reply

    async def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands, on a line that nobody else asks on meanwhile."""
        if self._taken >= MOST_LINES:
            raise ConnectionError("too many questions have no answer yet")
        self._taken += 1
        try:
            line = self._idle() or await self._connect()
            replies = await line.ask(b"".join([pack_command(command) for command in commands]), len(commands))
        finally:
            self._taken -= 1
        if any(isinstance(reply, ReplyError) and "READONLY" in str(reply) for reply in replies):
            # A name that points to the master may point to another one by now. Redis 6 says so within another error.
            line.close()
        else:
            self._free.append(line)
        return replies

    def _idle(self) -> RedisConnection | None:
        while self._free:
            line = self._free.pop()
            if line.is_open:
                return line
        return None

    async def _connect(self) -> RedisConnection:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        return RedisConnection(connection, self._patience)

    async def close(self) -> None:
        """Close all connections."""
        for line in self._free:
            line.close()
        await self._pool.aclose()
        if self._close is not None:
            await self._close()


def _is_unknown(reply: object) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")
