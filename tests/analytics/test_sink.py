"""What files and PostgreSQL have in common: batches come back as they were put, each once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.analytics.batch import Row
from gateway.analytics.files import FileSink
from gateway.analytics.postgres import PostgresSink
from gateway.analytics.sink import Sink, Span
from tests.analytics.builders import ALWAYS, DAY, MINUTE, batch, kept, requests
from tests.analytics.test_postgres import at
from tests.postgres_server import PostgresServer


@pytest.fixture(params=["files", "postgres"])
async def shelf(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer, database: str
) -> AsyncIterator[Sink]:
    opened: Sink = PostgresSink(at(postgres, database), 30 * DAY)
    if request.param == "files":
        opened = FileSink(tmp_path / "analytics", 30 * DAY)
    yield opened
    await opened.close()


async def test_nothing_is_there_before_anybody_has_written(shelf: Sink) -> None:
    assert await kept(shelf) == (0, {})


async def test_batches_of_one_minute_add_up(shelf: Sink) -> None:
    await shelf.put(batch(3, hits=[("aa", 2), ("bb", 1)]))
    await shelf.put(batch(4, hits=[("aa", 4)]))
    await shelf.put(batch(5, limit="other"))
    reading = await shelf.read(ALWAYS)
    assert reading.decisions == {
        (MINUTE, Row("orders", "", "", "refused")): 12,
        (MINUTE, Row("orders", "each", "", "refused")): 7,
        (MINUTE, Row("orders", "other", "", "refused")): 5,
    }
    assert reading.hits == {("each", "aa"): 6, ("each", "bb"): 1}
    assert reading.unreadable == 0


async def test_a_batch_that_is_put_twice_counts_once(shelf: Sink) -> None:
    one = batch(3, hits=[("aa", 2)])
    await shelf.put(one)
    await shelf.put(one)
    assert await kept(shelf) == (3, {("each", "aa"): 2})


async def test_a_batch_that_nobody_waits_for_any_more_is_put_again_and_counts_once(shelf: Sink) -> None:
    """As when the recorder is told to end while it writes."""
    await shelf.put(batch(1))
    for wait in (0.0, 0.0005, 0.001, 0.002, 0.004):
        one = batch(1)
        task = asyncio.ensure_future(shelf.put(one))
        await asyncio.wait([task], timeout=wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await shelf.put(one)
    assert await kept(shelf) == (6, {})


async def test_a_span_begins_with_its_first_second_and_ends_before_its_last(shelf: Sink) -> None:
    for place in range(6):
        await shelf.put(batch(10**place, minute=MINUTE + 60 * place, hits=[("aa", 10**place)]))
    assert await kept(shelf, Span(MINUTE + 60, MINUTE + 240)) == (1110, {("each", "aa"): 1110})


async def test_a_reading_is_in_the_steps_of_the_span(shelf: Sink) -> None:
    for place in range(6):
        await shelf.put(batch(10**place, minute=MINUTE + 60 * place))
    reading = await shelf.read(Span(MINUTE - 60, MINUTE + 360, 180))
    assert {step: times for (step, row), times in reading.decisions.items() if not row.limit} == {
        MINUTE - 60: 11,
        MINUTE + 120: 11100,
        MINUTE + 300: 100000,
    }


async def test_days_that_are_too_old_are_removed_when_a_new_day_begins(shelf: Sink) -> None:
    for day in range(5):
        await shelf.put(batch(10**day, minute=MINUTE + DAY * day, hits=[("aa", 1)]))
    assert requests(await shelf.read(ALWAYS)) == 11111
    await shelf.put(batch(10**5, minute=MINUTE + DAY * 33, hits=[("aa", 1)]))
    reading = await shelf.read(ALWAYS)
    assert (requests(reading), reading.hits["each", "aa"]) == (111000, 3)


async def test_names_that_mean_something_elsewhere_come_back_as_they_are(shelf: Sink) -> None:
    name = """it's "odd"; DROP TABLE x -- \\ {} é"""
    await shelf.put(batch(1, limit=name))
    assert (MINUTE, Row("orders", name, "", "refused")) in (await shelf.read(ALWAYS)).decisions
