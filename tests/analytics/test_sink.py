"""Both sinks: batches are read back as they were put, each once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.analytics.batch import Row
from gateway.analytics.files import FileSink
from gateway.analytics.postgres import PostgresSink
from gateway.analytics.sink import Sink, TimeRange
from tests.analytics.builders import ALWAYS, DAY, MINUTE, batch, requests, stored
from tests.analytics.test_postgres import settings
from tests.postgres_server import PostgresServer


@pytest.fixture(params=["files", "postgres"])
async def sink(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer, database: str
) -> AsyncIterator[Sink]:
    opened: Sink = PostgresSink(settings(postgres, database), 30 * DAY)
    if request.param == "files":
        opened = FileSink(tmp_path / "analytics", 30 * DAY)
    yield opened
    await opened.close()


async def test_a_new_sink_is_empty(sink: Sink) -> None:
    assert await stored(sink) == (0, {})


async def test_batches_of_one_minute_add_up(sink: Sink) -> None:
    await sink.put(batch(3, hits=[("aa", 2), ("bb", 1)]))
    await sink.put(batch(4, hits=[("aa", 4)]))
    await sink.put(batch(5, limit="other"))
    totals = await sink.read(ALWAYS)
    assert totals.decisions == {
        (MINUTE, Row("orders", "", "", "refused")): 12,
        (MINUTE, Row("orders", "each", "", "refused")): 7,
        (MINUTE, Row("orders", "other", "", "refused")): 5,
    }
    assert totals.hits == {("each", "aa"): 6, ("each", "bb"): 1}
    assert totals.unreadable == 0


async def test_a_batch_that_is_put_twice_counts_once(sink: Sink) -> None:
    one = batch(3, hits=[("aa", 2)])
    await sink.put(one)
    await sink.put(one)
    assert await stored(sink) == (3, {("each", "aa"): 2})


async def test_a_batch_whose_put_was_cancelled_is_put_again_and_counts_once(sink: Sink) -> None:
    """As when the recorder is closed while it writes."""
    await sink.put(batch(1))
    for wait in (0.0, 0.0005, 0.001, 0.002, 0.004):
        one = batch(1)
        task = asyncio.ensure_future(sink.put(one))
        await asyncio.wait([task], timeout=wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sink.put(one)
    assert await stored(sink) == (6, {})


async def test_a_time_range_includes_its_start_and_excludes_its_end(sink: Sink) -> None:
    for minute in range(6):
        await sink.put(batch(10**minute, minute=MINUTE + 60 * minute, hits=[("aa", 10**minute)]))
    assert await stored(sink, TimeRange(MINUTE + 60, MINUTE + 240)) == (1110, {("each", "aa"): 1110})


async def test_decisions_are_added_up_by_step(sink: Sink) -> None:
    for minute in range(6):
        await sink.put(batch(10**minute, minute=MINUTE + 60 * minute))
    totals = await sink.read(TimeRange(MINUTE - 60, MINUTE + 360, 180))
    assert {step: times for (step, row), times in totals.decisions.items() if not row.limit} == {
        MINUTE - 60: 11,
        MINUTE + 120: 11100,
        MINUTE + 300: 100000,
    }


async def test_days_that_are_too_old_are_removed_when_a_new_day_begins(sink: Sink) -> None:
    for day in range(5):
        await sink.put(batch(10**day, minute=MINUTE + DAY * day, hits=[("aa", 1)]))
    assert requests(await sink.read(ALWAYS)) == 11111
    await sink.put(batch(10**5, minute=MINUTE + DAY * 33, hits=[("aa", 1)]))
    totals = await sink.read(ALWAYS)
    assert (requests(totals), totals.hits["each", "aa"]) == (111000, 3)


async def test_names_with_special_characters_are_read_back_unchanged(sink: Sink) -> None:
    name = """it's "odd"; DROP TABLE x -- \\ {} é"""
    await sink.put(batch(1, limit=name))
    assert (MINUTE, Row("orders", name, "", "refused")) in (await sink.read(ALWAYS)).decisions
