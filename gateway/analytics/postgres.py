"""`PostgresSink`: batches in PostgreSQL, through asyncpg. It makes and migrates its own tables, see `schema`.

Each batch is one transaction. Its key is written with it, so a batch whose answer was lost is not counted twice. Rows
are written in one order by everybody, so no two writers wait for each other in a circle.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from gateway.analytics import schema
from gateway.analytics.batch import Batch, Row
from gateway.analytics.sink import Reading, SinkUnavailableError, Span
from gateway.settings.analytics import Postgres

_CONNECT = 5.0
"""Seconds until a connection stands."""

_ANSWER = 10.0
"""Seconds for a transaction."""

_READ = 60.0
"""Seconds for what a report asks."""

_CLOSE = 0.5


class PostgresSink:
    """One connection, opened when it is needed and dropped after a failure.

    Args:
        postgres: The database.
        keep: Seconds after which rows are removed.
        steps: Statements that build the schema, one for each version.

    Raises:
        SinkUnavailableError: there are no certificates in the file named.
    """

    def __init__(self, postgres: Postgres, keep: float, steps: Sequence[str] = schema.STEPS) -> None:
        self._url = postgres.url
        self._tls = _tls_context(postgres)
        self._keep = timedelta(seconds=keep)
        self._steps = steps
        self._connection: Any = None
        self._swept: date | None = None

    def __str__(self) -> str:
        return str(self._url)

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
        url = self._url
        return await asyncpg.connect(
            host=url.host,
            port=url.port,
            user=url.username,
            password=url.password,
            database=url.database,
            ssl=self._tls or False,
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


def _tls_context(postgres: Postgres) -> ssl.SSLContext | None:
    """How to verify the server; None without TLS."""
    if not postgres.tls or postgres.url.is_socket:
        return None
    try:
        return ssl.create_default_context(cafile=postgres.ca)
    except ssl.SSLError as error:
        raise SinkUnavailableError(f"analytics.postgres.ca: {postgres.ca} holds no certificates") from error


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
