"""`RedisClient`: how script calls reach Redis.

The rules:

* Nothing is sent twice. A call whose reply was lost may have been executed, so it fails. The one exception is NOSCRIPT,
  which says that it was not executed: then the script's text is sent.
* A connection belongs to one caller from the request to the last byte of the reply. When something goes wrong in
  between, it is closed, so that nobody ever reads the reply to another caller's request.
* Whatever goes wrong, the caller gets a `StoreUnavailableError`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from hiredis import ReplyError, pack_command
from redis.asyncio.connection import ConnectionPool

from gateway.redis.connection import RedisConnection
from gateway.redis.errors import StoreUnavailableError, unavailable
from gateway.redis.scripts import Call

MAX_CONNECTIONS: Final = 8
"""One carries the checks, one the polls; the others replace those that hang."""

SCAN_COUNT: Final = 1000
"""Keys that Redis looks at in one go: a millisecond of its time at most."""

Reply = list[Any] | StoreUnavailableError
"""What a script returned, or why there is no reply."""

HandlePage = Callable[[list[bytes]], Awaitable[None]]
"""Handles some keys that were found."""


class RedisClient(Protocol):
    """Sends calls and returns a reply for each: `PooledClient` or `ClusterClient`."""

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Run scripts, which may run at the same time. Raises nothing but CancelledError."""

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command, for what no request waits for.

        Raises:
            StoreUnavailableError: it may or may not have been executed.
        """

    async def scan(self, pattern: str, handle: HandlePage) -> None:
        """Find the keys that match a glob, page by page; one that stays meanwhile is in at least one page.

        Raises:
            StoreUnavailableError: Redis does not reply, or does not allow it.
        """

    async def close(self) -> None:
        """Close all connections."""


async def run_script(client: RedisClient, call: Call) -> list[Any]:
    """Run one script.

    Raises:
        StoreUnavailableError: it may or may not have been executed.
    """
    (reply,) = await client.run([call])
    if isinstance(reply, StoreUnavailableError):
        raise reply
    return reply


def evalsha(call: Call) -> tuple[Any, ...]:
    """The command that runs a script which the server knows."""
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.arguments)


def evaluate(call: Call) -> tuple[Any, ...]:
    """The command that runs a script which the server does not know yet."""
    return ("EVAL", call.script.text, len(call.keys), *call.keys, *call.arguments)


def checked(reply: object, call: Call) -> Reply:
    """The reply to a call, if it has the form of the script's replies."""
    if isinstance(reply, Exception):
        return unavailable(reply)
    if isinstance(reply, list) and len(reply) == call.numbers and all(type(number) is int for number in reply):
        return reply
    if isinstance(reply, list) and call.numbers is None:
        return reply
    return StoreUnavailableError(f"unexpected reply to a script: {reply!r:.80}")


class PooledClient:
    """One server, or the master that Sentinels point to.

    Args:
        pool: Makes connections to it.
        timeout: Seconds that a reply may take.
        close: Closes what else is open.
    """

    def __init__(
        self, pool: ConnectionPool, timeout: float, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._close = close
        self._idle: list[RedisConnection] = []
        self._in_use = 0

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Run scripts one after the other, in one round trip."""
        try:
            return [checked(reply, call) for reply, call in zip(await self._run(calls), calls, strict=True)]
        except Exception as error:  # noqa: BLE001 - redis-py's failures have no common class
            return [unavailable(error)] * len(calls)

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        replies = await self._execute([evalsha(call) for call in calls])
        unknown = [place for place, reply in enumerate(replies) if _is_unknown(reply)]
        if unknown:
            again = await self._execute([evaluate(calls[place]) for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command."""
        try:
            (reply,) = await self._execute([words])
        except Exception as error:
            raise unavailable(error) from error
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
        return reply

    async def scan(self, pattern: str, handle: HandlePage) -> None:
        """See `RedisClient.scan`."""
        cursor: Any = 0
        while True:
            cursor, keys = await self.command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            await handle(keys)
            if not int(cursor):
                return

    async def _execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands, on a connection that nobody else uses meanwhile."""
        if self._in_use >= MAX_CONNECTIONS:
            raise ConnectionError(f"all {MAX_CONNECTIONS} connections wait for replies")
        self._in_use += 1
        try:
            connection = self._take_idle() or await self._connect()
            replies = await connection.execute(b"".join([pack_command(words) for words in commands]), len(commands))
        finally:
            self._in_use -= 1
        if any(isinstance(reply, ReplyError) and "READONLY" in str(reply) for reply in replies):
            # A name that points to the master may point to another one by now. Redis 6 says so within another error.
            connection.close()
        else:
            self._idle.append(connection)
        return replies

    def _take_idle(self) -> RedisConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> RedisConnection:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        return RedisConnection(connection, self._timeout)

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            connection.close()
        await self._pool.aclose()
        if self._close is not None:
            await self._close()


def _is_unknown(reply: object) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")
