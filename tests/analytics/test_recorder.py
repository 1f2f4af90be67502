"""The recorder writes everything once, and while it cannot, holds so much and counts the rest."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gateway.analytics.files import FileSink
from gateway.analytics.postgres import PostgresSink
from gateway.analytics.recorder import Recorder
from gateway.analytics.rollup import Rollup
from gateway.analytics.sink import Sink
from tests.analytics.builders import DAY, EACH, MINUTE, book, caller, kept
from tests.analytics.test_postgres import at
from tests.postgres_server import PostgresServer
from tests.waiting import DEADLINE, at_most


class Told:
    """What the recorder said."""

    def __init__(self) -> None:
        self.written = self.lost = 0
        self.events: list[str] = []
        self.changed = asyncio.Event()

    def analytics_written(self, requests: int) -> None:
        self.written += requests
        self.changed.set()

    def analytics_lost(self, requests: int) -> None:
        self.lost += requests
        self.changed.set()

    def analytics_unavailable(self, reason: str) -> None:
        self._note(f"unavailable: {reason}")

    def analytics_back(self, batches: int) -> None:
        self._note(f"back: {batches}")

    def analytics_failed(self, error: Exception) -> None:
        self._note(f"failed: {error}")

    def analytics_incomplete(self, requests: int) -> None:
        self._note(f"incomplete: {requests}")

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not happened():
                self.changed.clear()
                await self.changed.wait()


class Running:
    """A roll-up and its recorder, at a time that the test says."""

    def __init__(self, shelf: Sink, buffer: int) -> None:
        self.now = float(MINUTE)
        self.told = Told()
        self._book = book(EACH)
        self._rollup = Rollup(self._book, self.now, top_callers=10)
        self.recorder = Recorder(self._rollup, shelf, self.told, interval=0.02, buffer=buffer, clock=lambda: self.now)

    def count(self, times: int = 1) -> None:
        rules = self._book.current
        demands = rules.demands(rules.default, caller())
        for _ in range(times):
            self._rollup.count("default", caller(), demands, "refused", (0,))


@asynccontextmanager
async def running(shelf: Sink, buffer: int = 1000) -> AsyncIterator[Running]:
    made = Running(shelf, buffer)
    made.recorder.start()
    try:
        yield made
    finally:
        await made.recorder.close()


async def test_what_is_counted_is_written_by_and_by_and_the_rest_at_the_end(tmp_path: Path) -> None:
    shelf = FileSink(tmp_path, 30 * DAY)
    async with running(shelf) as it:
        it.count(3)
        await it.told.until(lambda: it.told.written == 3)
        it.now += 60
        it.count(2)
        await it.told.until(lambda: it.told.written == 5)
        it.count(1)
    assert (it.told.written, it.told.lost, it.told.events, it.recorder.waiting) == (6, 0, [], 0)
    requests, hits = await kept(shelf)
    assert (requests, list(hits.values())) == (6, [6])


async def test_a_database_that_is_away_is_told_once_and_gets_everything_when_it_goes_on(
    postgres: PostgresServer, database: str
) -> None:
    shelf = PostgresSink(at(postgres, database), 30 * DAY)
    async with running(shelf) as it:
        it.count()
        await it.told.until(lambda: it.told.written == 1)
        await asyncio.to_thread(postgres.kill)
        for number in range(2, 30):
            it.count()
            it.recorder.cut()
            if number == 5:
                await it.told.until(lambda: len(it.told.events) == 1)
        assert it.told.lost == 0
        assert it.recorder.waiting == 28 * 3
        await asyncio.to_thread(postgres.launch)
        await it.told.until(lambda: it.told.written == 29)
    assert [event.partition(":")[0] for event in it.told.events] == ["unavailable", "back"]
    assert it.told.events[1] == "back: 28"
    reading = PostgresSink(at(postgres, database), 30 * DAY)
    assert (await kept(reading))[0] == 29
    await reading.close()


async def test_what_the_buffer_cannot_hold_is_lost_and_counted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf = FileSink(tmp_path / "file", 30 * DAY)
    async with running(shelf, buffer=10) as it:
        for _ in range(20):
            it.count(5)
            it.recorder.cut()
        assert it.recorder.waiting == 9  # three batches of two rows and a caller
        assert it.told.lost == 17 * 5
        await it.told.until(lambda: bool(it.told.events))
        (tmp_path / "file").unlink()
        await it.told.until(lambda: it.told.written == 15)
        it.count(1)
    assert (it.told.written, it.told.lost) == (16, 85)
    assert (await kept(shelf))[0] == 16


async def test_what_cannot_be_written_at_the_end_is_counted_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with running(FileSink(tmp_path / "file", 30 * DAY)) as it:
        it.count(5)
    assert (it.told.written, it.told.lost) == (0, 5)
    assert it.told.events[-1] == "incomplete: 5"


async def test_a_database_that_hangs_at_the_end_is_not_waited_for_long(postgres: PostgresServer, database: str) -> None:
    shelf = PostgresSink(at(postgres, database), 30 * DAY)
    try:
        async with AsyncExitStack() as stack:
            it = await stack.enter_async_context(running(shelf))
            it.count(1)
            await it.told.until(lambda: it.told.written == 1)
            it.count(5)
            postgres.pause()
            async with at_most(5):
                await stack.aclose()
        assert (it.told.lost, it.told.events[-1]) == (5, "incomplete: 5")
    finally:
        postgres.resume()


async def test_a_failure_that_nobody_foresaw_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_batch: object) -> None:
        raise LookupError("what now")

    shelf = FileSink(tmp_path, 30 * DAY)
    with monkeypatch.context() as patched:
        patched.setattr(shelf, "put", fail)
        async with running(shelf) as it:
            it.count(2)
            await it.told.until(lambda: it.told.events == ["failed: what now"])
            patched.undo()
            await it.told.until(lambda: it.told.written == 2)
    assert it.told.events == ["failed: what now", "back: 1"]
