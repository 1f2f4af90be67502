"""`PostgresSink`: batches in PostgreSQL, through asyncpg. It creates and migrates its own tables, see `schema`.

Each batch is one transaction. Its key is written with it, so a batch is not counted twice if the reply to COMMIT was
lost. All writers write rows in the same order, so they cannot deadlock.
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
from gateway.analytics.sink import SinkUnavailableError, TimeRange, Totals
from gateway.settings.analytics import Postgres

_CONNECT_TIMEOUT = 5.0
_WRITE_TIMEOUT = 10.0
"""Seconds for a transaction."""

_READ_TIMEOUT = 60.0
"""Seconds for the queries of a report."""

_CLOSE_TIMEOUT = 0.5


class PostgresSink:
    """One connection, opened when it is needed and dropped after a failure.

    Args:
        postgres: The database.
        keep: Seconds after which rows are removed.
        migrations: Of the schema, one for each version.

    Raises:
        SinkUnavailableError: the file named for certificates contains none.
    """

    def __init__(self, postgres: Postgres, keep: float, migrations: Sequence[str] = schema.MIGRATIONS) -> None:
        self._url = postgres.url
        self._tls = _tls_context(postgres)
        self._keep = timedelta(seconds=keep)
        self._migrations = migrations
        self._connection: Any = None
        self._cleaned_up: date | None = None

    def __str__(self) -> str:
        return str(self._url)

    async def put(self, batch: Batch) -> None:
        """See `Sink`."""
        async with self._dropping_connection_on_error():
            connection = await self._open()
            async with asyncio.timeout(_WRITE_TIMEOUT), _transaction(connection):
                await _add(connection, batch)
            await self._clean_up(connection, batch.minute)

    async def read(self, period: TimeRange) -> Totals:
        """See `Sink`. The schema is not migrated: a report may run with a role that can only read."""
        totals = Totals()
        async with self._dropping_connection_on_error():
            if self._connection is None:
                self._connection = await self._connect()
            async with asyncio.timeout(_READ_TIMEOUT):
                with suppress(asyncpg.UndefinedTableError):  # nothing has been written yet
                    for step, *row, count in await self._connection.fetch(schema.READ_DECISIONS, *period):
                        totals.decisions[step, Row(*row)] += count
                    for limit, caller, count in await self._connection.fetch(schema.READ_HITS, *period[:2]):
                        totals.hits[limit, caller] += count
                    for *spender, cost in await self._connection.fetch(schema.READ_SPENT, *period[:2]):
                        totals.spent[tuple(spender)] += cost
        return totals

    async def close(self) -> None:
        """Close the connection, gracefully if the server responds at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_CLOSE_TIMEOUT)

    @asynccontextmanager
    async def _dropping_connection_on_error(self) -> AsyncIterator[None]:
        """Drop the connection on any error, since its state is then unknown; raise errors as `SinkUnavailableError`."""
        try:
            yield
        except BaseException as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.terminate()
            if isinstance(error, TimeoutError):
                raise SinkUnavailableError(f"{self}: the server did not respond in time") from error
            if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
                raise SinkUnavailableError(f"{self}: {error or type(error).__name__}") from error
            raise

    async def _open(self) -> Any:
        if self._connection is None:
            connection = self._connection = await self._connect()
            async with asyncio.timeout(_WRITE_TIMEOUT):
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
            timeout=_CONNECT_TIMEOUT,
            statement_cache_size=0,  # a connection pooler may be in between
            server_settings={"application_name": "gateway"},
        )

    async def _migrate(self, connection: Any) -> None:
        async with _transaction(connection):
            await connection.execute("SELECT pg_advisory_xact_lock($1)", schema.LOCK)
            if await connection.fetchval(schema.IS_NEW):
                await connection.execute(schema.CREATE_VERSIONS)
            version = await connection.fetchval(schema.GET_VERSION)
            for number, migration in enumerate(self._migrations[version:], version + 1):
                await connection.execute(migration)
                await connection.execute(schema.ADD_VERSION, number)

    async def _clean_up(self, connection: Any, minute: int) -> None:
        """Delete rows that are too old, once a day."""
        today = _instant(minute).date()
        if today != self._cleaned_up:
            async with asyncio.timeout(_WRITE_TIMEOUT):
                for statement in schema.DELETE_BEFORE:
                    await connection.execute(statement, _instant(minute) - self._keep)
            self._cleaned_up = today


def _tls_context(postgres: Postgres) -> ssl.SSLContext | None:
    """How to verify the server; None for no TLS."""
    if not postgres.tls or postgres.url.is_socket:
        return None
    try:
        return ssl.create_default_context(cafile=postgres.ca)
    except ssl.SSLError as error:
        raise SinkUnavailableError(f"analytics.postgres.ca: {postgres.ca} contains no certificates") from error


@asynccontextmanager
async def _transaction(connection: Any) -> AsyncIterator[None]:
    """A transaction that is not rolled back on an error, because the connection is dropped then.

    asyncpg's own would wait for the server to roll back, however long that takes.
    """
    await connection.execute("BEGIN")
    yield
    await connection.execute("COMMIT")


async def _add(connection: Any, batch: Batch) -> None:
    minute = _instant(batch.minute)
    if await connection.fetchval(schema.ADD_BATCH, batch.key, minute) is None:
        return
    rows = sorted((*row, count) for row, count in batch.counts.items())
    await connection.execute(schema.ADD_DECISIONS, minute, *map(list, zip(*rows, strict=True)))
    if batch.hits:
        await connection.execute(schema.ADD_HITS, minute, *map(list, zip(*sorted(batch.hits), strict=True)))
    if batch.spent:
        await connection.execute(schema.ADD_SPENT, minute, *map(list, zip(*sorted(batch.spent), strict=True)))


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
