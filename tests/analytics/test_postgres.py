"""Batches in a real PostgreSQL: its schema, concurrent writers, and a server that hangs, stops or restarts."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from gateway.analytics import schema
from gateway.analytics.postgres import PostgresSink
from gateway.analytics.sink import SinkUnavailableError
from gateway.settings.analytics import Postgres
from gateway.settings.url import PostgresUrl
from tests.analytics.builders import ALWAYS, DAY, MINUTE, batch, stored
from tests.postgres_server import PASSWORD, ROLE, PostgresServer, has_tls, postgres_server
from tests.tls_front import tls_front
from tests.waiting import at_most
from tests.wire import serving

KEEP = 30 * DAY


def settings(
    server: PostgresServer, database: str, role: str = ROLE, ca: Path | None = None, *, tls: bool = False
) -> Postgres:
    return Postgres(PostgresUrl("127.0.0.1", server.port, database, role, PASSWORD), tls or ca is not None, ca)


def sink_at(server: PostgresServer, database: str) -> PostgresSink:
    return PostgresSink(settings(server, database), KEEP)


async def versions(server: PostgresServer, database: str) -> list[int]:
    async with server.session(database) as session:
        return [row["version"] for row in await session.fetch("SELECT version FROM gateway_schema ORDER BY version")]


async def test_gateways_that_start_at_the_same_time_create_the_schema_once(
    postgres: PostgresServer, database: str
) -> None:
    sinks = [sink_at(postgres, database) for _ in range(8)]
    await asyncio.gather(*(each.put(batch(1)) for each in sinks))
    assert await stored(sinks[0]) == (8, {})
    await asyncio.gather(*(each.close() for each in sinks))
    assert await versions(postgres, database) == list(range(1, len(schema.MIGRATIONS) + 1))


@pytest.mark.parametrize("version", range(len(schema.MIGRATIONS)))
async def test_an_old_schema_is_migrated_and_keeps_what_is_in_it(
    postgres: PostgresServer, database: str, version: int
) -> None:
    async with postgres.session(database) as session:
        await session.execute(schema.CREATE_VERSIONS)
        for number, migration in enumerate(schema.MIGRATIONS[:version], 1):
            await session.execute(migration)
            await session.execute(schema.ADD_VERSION, number)
        if version:
            await session.execute(
                "INSERT INTO gateway_decisions VALUES (to_timestamp($1), 'orders', '', '', 'allowed', 41)", MINUTE
            )
    now = sink_at(postgres, database)
    await now.put(batch(1, hits=[("aa", 1)], spent=[("bb", 3), ("", 9)]))
    await now.put(batch(0, spent=[("bb", 4)]))
    assert await stored(now) == (42 if version else 1, {("each", "aa"): 1})
    assert (await now.read(ALWAYS)).spent == {("orders", "each", "bb"): 7, ("orders", "each", ""): 9}
    await now.close()
    assert await versions(postgres, database) == list(range(1, len(schema.MIGRATIONS) + 1))


async def test_a_schema_of_a_newer_gateway_is_used_as_it_is(postgres: PostgresServer, database: str) -> None:
    newer = PostgresSink(
        settings(postgres, database),
        KEEP,
        (*schema.MIGRATIONS, "ALTER TABLE gateway_decisions ADD note text"),
    )
    await newer.put(batch(1))
    await newer.close()
    older = sink_at(postgres, database)
    await older.put(batch(1))
    assert await stored(older) == (2, {})
    await older.close()
    assert await versions(postgres, database) == list(range(1, len(schema.MIGRATIONS) + 2))


async def test_a_migration_that_fails_is_rolled_back(postgres: PostgresServer, database: str) -> None:
    broken = PostgresSink(
        settings(postgres, database), KEEP, (*schema.MIGRATIONS, "CREATE TABLE x (id int); SELECT no_such()")
    )
    with pytest.raises(SinkUnavailableError, match="no_such"):
        await broken.put(batch(1))
    async with postgres.session(database) as session:
        assert await session.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


async def test_writers_of_the_same_rows_do_not_deadlock(postgres: PostgresServer, database: str) -> None:
    sinks = [sink_at(postgres, database) for _ in range(4)]

    async def write(each: PostgresSink, *, backwards: bool) -> None:
        for _ in range(20):
            hits = [(f"{number:02}", 1) for number in range(30)]
            await each.put(batch(1, hits=reversed(hits) if backwards else hits))

    await asyncio.gather(*(write(each, backwards=place % 2 == 0) for place, each in enumerate(sinks)))
    requests, hits = await stored(sinks[0])
    assert (requests, set(hits.values()), len(hits)) == (80, {80}, 30)
    await asyncio.gather(*(each.close() for each in sinks))


async def test_a_role_that_can_only_write_or_only_read_is_enough_once_the_schema_exists(
    postgres: PostgresServer, database: str
) -> None:
    owner = sink_at(postgres, database)
    await owner.put(batch(1))
    await owner.close()
    tables = "gateway_schema, gateway_batches, gateway_decisions, gateway_refused_callers, gateway_callers"
    async with postgres.session(database) as session:
        for role, rights in (("writer", "SELECT, INSERT, UPDATE, DELETE"), ("reader", "SELECT")):
            await session.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            await session.execute(f"GRANT {rights} ON {tables} TO {role}")
        await session.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    writer = PostgresSink(settings(postgres, database, "writer"), KEEP)
    await writer.put(batch(1))
    await writer.close()
    reader = PostgresSink(settings(postgres, database, "reader"), KEEP)
    assert await stored(reader) == (2, {})
    with pytest.raises(SinkUnavailableError, match="permission denied"):
        await reader.put(batch(1))


async def test_a_server_that_was_restarted_is_written_to_again(postgres: PostgresServer, database: str) -> None:
    writing = sink_at(postgres, database)
    await writing.put(batch(1))
    await postgres.restart()
    one = batch(1)
    with pytest.raises(SinkUnavailableError):
        await writing.put(one)
    await writing.put(one)
    assert await stored(writing) == (2, {})
    await writing.close()


async def test_a_server_that_hangs_is_waited_for_for_a_bounded_time(
    postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = sink_at(postgres, database)
    await writing.put(batch(1))
    postgres.pause()
    try:
        one = batch(1)
        async with at_most(3):
            monkeypatch.setattr("gateway.analytics.postgres._WRITE_TIMEOUT", 0.3)
            monkeypatch.setattr("gateway.analytics.postgres._CONNECT_TIMEOUT", 0.3)
            for _ in range(2):  # on the connection there is, and on one that does not come about
                with pytest.raises(SinkUnavailableError, match="did not respond in time"):
                    await writing.put(one)
            await writing.close()
    finally:
        postgres.resume()
        monkeypatch.undo()
    await writing.put(one)
    assert await stored(writing) == (2, {})
    await writing.close()


async def test_a_batch_whose_reply_was_lost_counts_once(postgres: PostgresServer, database: str) -> None:
    """The server gets every byte of the batch, and the gateway gets no reply."""
    replies = asyncio.Event()
    replies.set()
    committing = asyncio.Event()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", postgres.port)

        async def forward() -> None:
            while data := await reader.read(65_536):
                up_writer.write(data)
                if b"COMMIT" in data:
                    committing.set()
            up_writer.close()

        async def backward() -> None:
            while data := await up_reader.read(65_536):
                if b"COMMIT" in data and not replies.is_set():
                    break  # the reply to COMMIT
                writer.write(data)
            writer.close()

        await asyncio.gather(forward(), backward(), return_exceptions=True)

    async with serving(proxy) as server:
        port = server.sockets[0].getsockname()[1]
        writing = PostgresSink(Postgres(PostgresUrl("127.0.0.1", port, database, ROLE, PASSWORD), tls=False), KEEP)
        await writing.put(batch(1))
        replies.clear()
        committing.clear()
        one = batch(1, hits=[("aa", 1)])
        with pytest.raises(SinkUnavailableError):
            await writing.put(one)
        assert committing.is_set()
        direct = sink_at(postgres, database)
        assert await stored(direct) == (2, {("each", "aa"): 1})  # it was committed
        replies.set()
        await writing.put(one)
        assert await stored(direct) == (2, {("each", "aa"): 1})
        await writing.close()
        await direct.close()


async def test_errors_contain_no_secret(postgres: PostgresServer, database: str) -> None:
    wrong = Postgres(PostgresUrl("127.0.0.1", postgres.port, database, ROLE, "not the password"), tls=False)
    with pytest.raises(SinkUnavailableError, match="password authentication failed") as error:
        await PostgresSink(wrong, KEEP).put(batch(1))
    assert "not the password" not in str(error.value) + repr(wrong)
    with pytest.raises(SinkUnavailableError, match="no_such_database"):
        await sink_at(postgres, "no_such_database").put(batch(1))


async def test_a_unix_socket_can_be_used(postgres: PostgresServer, database: str) -> None:
    writing = PostgresSink(Postgres(PostgresUrl(str(postgres.folder), postgres.port, database, ROLE, PASSWORD)), KEEP)
    await writing.put(batch(1))
    assert await stored(writing) == (1, {})
    await writing.close()


@asynccontextmanager
async def behind_a_tls_front(postgres: PostgresServer, pem: Path) -> AsyncIterator[int]:
    """The port of what operators put before a PostgreSQL that was built without TLS; it has a database ``tls``."""
    await postgres.database("tls")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    async with tls_front(postgres.port, context, postgres=True) as port:
        yield port


@asynccontextmanager
async def with_tls_of_its_own(_: PostgresServer, pem: Path) -> AsyncIterator[int]:
    """The port of a PostgreSQL that speaks TLS itself, with a database ``tls``."""
    with postgres_server() as server:
        await server.database("tls")
        own = server.own("server.pem", await asyncio.to_thread(pem.read_bytes))
        async with server.session() as session:
            for name in ("ssl_cert_file", "ssl_key_file"):
                await session.execute(f"ALTER SYSTEM SET {name} = '{own}'")
            await session.execute("ALTER SYSTEM SET ssl = on")
        await server.restart()
        yield server.port


@pytest.mark.parametrize("tls", [behind_a_tls_front, *([with_tls_of_its_own] if has_tls() else [])])
async def test_tls_verifies_the_server(
    tls: Callable[[PostgresServer, Path], AbstractAsyncContextManager[int]], postgres: PostgresServer, tmp_path: Path
) -> None:
    ours = trustme.CA()
    pem = tmp_path / "server.pem"
    ours.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with tls(postgres, pem) as port:
        url = PostgresUrl("127.0.0.1", port, "tls", ROLE, PASSWORD)
        with pytest.raises(SinkUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            await PostgresSink(Postgres(url), KEEP).put(batch(1))
        writing = PostgresSink(Postgres(url, ca=tmp_path / "ca.pem"), KEEP)
        await writing.put(batch(1, minute=MINUTE))
        assert await stored(writing) == (1, {})
        await writing.close()


async def test_a_server_without_tls_is_not_talked_to_in_the_clear(postgres: PostgresServer, database: str) -> None:
    with pytest.raises(SinkUnavailableError, match="rejected SSL upgrade"):
        await PostgresSink(settings(postgres, database, tls=True), KEEP).put(batch(1))
