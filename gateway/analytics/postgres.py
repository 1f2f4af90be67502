"""`PostgresSink`: batches in PostgreSQL, through asyncpg. It makes and migrates its own tables, see `schema`.

Each batch is one transaction. Its key is written with it, so a batch whose answer was lost is not counted twice. Rows
are written in one order by everybody, so no two writers wait for each other in a circle.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from gateway.analytics import schema
from gateway.analytics.batch import Batch, Row
from gateway.analytics.sink import Reading, SinkUnavailableError, Span

_CONNECT = 5.0
"""Seconds until a connection stands."""

_ANSWER = 10.0
"""Seconds for a transaction."""

_READ = 60.0
"""Seconds for what a report asks."""

_CLOSE = 0.5


@dataclass(frozen=True, slots=True)
class Database:
    """Where PostgreSQL is, and as whom to speak to it.

    Attributes:
        host: An address or name, or the folder of a Unix socket.
        port: The port.
        name: Of the database.
        user: The role.
        password: In no repr.
        tls: How to make sure of the server; None for no TLS.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host.replace("/", "%2F")
        return f"postgresql://{self.user}@{host}:{self.port}/{self.name}"


class PostgresSink:
    """One connection, opened when it is needed and dropped after a failure.

    Args:
        database: Where.
        keep: Seconds after which rows are removed.
        steps: What makes the schema.
    """

    def __init__(self, database: Database, keep: float, steps: Sequence[str] = schema.STEPS) -> None:
        self._database = database
        self._keep = timedelta(seconds=keep)
        self._steps = steps
        self._connection: Any = None
        self._swept: date | None = None

    def __str__(self) -> str:
        return str(self._database)

    async def put(self, batch: Batch) -> None:
        """See `Shelf`."""
        async with self._failing():
            connection = await self._open()
            async with asyncio.timeout(_ANSWER), _transaction(connection):
                await _add(connection, batch)
            await self._sweep(connection, batch.minute)

    async def read(self, span: Span) -> Reading:
        """See `Shelf`. The schema is left as it is: whoever reports may be allowed to read only."""
        reading = Reading()
        async with self._failing():
            if self._connection is None:
                self._connection = await self._connect()
            async with asyncio.timeout(_READ):
                with suppress(asyncpg.UndefinedTableError):  # nobody has written yet
                    for step, *row, count in await self._connection.fetch(schema.READ_DECISIONS, *span):
                        reading.decisions[step, Row(*row)] += count
                    for limit, caller, count in await self._connection.fetch(schema.READ_HITS, *span[:2]):
                        reading.hits[limit, caller] += count
        return reading

    async def close(self) -> None:
        """Close the connection, in good order if the server says so at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_CLOSE)

    @asynccontextmanager
    async def _failing(self) -> AsyncIterator[None]:
        """Drop the connection whatever goes wrong: nobody knows what is still under way on it."""
        try:
            yield
        except BaseException as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.terminate()
            if isinstance(error, TimeoutError):
                raise SinkUnavailableError(f"{self}: no answer in time") from error
            if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
                raise SinkUnavailableError(f"{self}: {error or type(error).__name__}") from error
            raise

    async def _open(self) -> Any:
        if self._connection is None:
            connection = self._connection = await self._connect()
            async with asyncio.timeout(_ANSWER):
                await self._migrate(connection)
        return self._connection

    async def _connect(self) -> Any:
        at = self._database
        return await asyncpg.connect(
            host=at.host,
            port=at.port,
            user=at.user,
            password=at.password,
            database=at.name,
            ssl=at.tls or False,
            timeout=_CONNECT,
            statement_cache_size=0,  # so that a pooler may stand in between
            server_settings={"application_name": "gateway"},
        )

    async def _migrate(self, connection: Any) -> None:
        async with _transaction(connection):
            await connection.execute("SELECT pg_advisory_xact_lock($1)", schema.LOCK)
            if await connection.fetchval(schema.IS_NEW):
                await connection.execute(schema.VERSIONS)
            version = await connection.fetchval(schema.VERSION)
            for number, step in enumerate(self._steps[version:], version + 1):
                await connection.execute(step)
                await connection.execute(schema.TAKEN, number)

    async def _sweep(self, connection: Any, minute: int) -> None:
        """Remove what is too old, once a day."""
        today = _instant(minute).date()
        if today != self._swept:
            async with asyncio.timeout(_ANSWER):
                for statement in schema.FORGET:
                    await connection.execute(statement, _instant(minute) - self._keep)
            self._swept = today


@asynccontextmanager
async def _transaction(connection: Any) -> AsyncIterator[None]:
    """A transaction that ends with the connection when something goes wrong.

    asyncpg's own one would then wait for the server to roll back, however long that takes.
    """
    await connection.execute("BEGIN")
    yield
    await connection.execute("COMMIT")


async def _add(connection: Any, batch: Batch) -> None:
    minute = _instant(batch.minute)
    if await connection.fetchval(schema.BATCH, batch.key, minute) is None:
        return
    rows = sorted((*row, count) for row, count in batch.counts.items())
    await connection.execute(schema.DECISIONS, minute, *map(list, zip(*rows, strict=True)))
    if batch.hits:
        await connection.execute(schema.HITS, minute, *map(list, zip(*sorted(batch.hits), strict=True)))


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
