"""The recorder writes everything once; while it cannot, it buffers up to a bound and counts the rest as lost."""

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
from tests.analytics.builders import DAY, EACH, MINUTE, book, caller, stored
from tests.analytics.test_postgres import settings
from tests.postgres_server import PostgresServer
from tests.waiting import DEADLINE, at_most


class Reports:
    """What the recorder reported."""

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
    """A roll-up and its recorder, with a clock that the test sets."""

    def __init__(self, sink: Sink, buffer: int) -> None:
        self.now = float(MINUTE)
        self.reports = Reports()
        self._book = book(EACH)
        self._rollup = Rollup(self._book, self.now, top_callers=10)
        self.recorder = Recorder(self._rollup, sink, self.reports, interval=0.02, buffer=buffer, clock=lambda: self.now)

    def count(self, times: int = 1) -> None:
        rules = self._book.current
        demands = rules.demands(rules.default, caller())
        for _ in range(times):
            self._rollup.count("default", caller(), demands, "refused", (0,))


@asynccontextmanager
async def running(sink: Sink, buffer: int = 1000) -> AsyncIterator[Running]:
    made = Running(sink, buffer)
    made.recorder.start()
    try:
        yield made
    finally:
        await made.recorder.close()


async def test_counts_are_written_regularly_and_the_rest_on_close(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, 30 * DAY)
    async with running(sink) as it:
        it.count(3)
        await it.reports.until(lambda: it.reports.written == 3)
        it.now += 60
        it.count(2)
        await it.reports.until(lambda: it.reports.written == 5)
        it.count(1)
    assert (it.reports.written, it.reports.lost, it.reports.events, it.recorder.waiting) == (6, 0, [], 0)
    requests, hits = await stored(sink)
    assert (requests, list(hits.values())) == (6, [6])


async def test_an_unavailable_database_is_reported_once_and_gets_everything_when_it_is_back(
    postgres: PostgresServer, database: str
) -> None:
    sink = PostgresSink(settings(postgres, database), 30 * DAY)
    async with running(sink) as it:
        it.count()
        await it.reports.until(lambda: it.reports.written == 1)
        await asyncio.to_thread(postgres.kill)
        for number in range(2, 30):
            it.count()
            it.recorder.cut()
            if number == 5:
                await it.reports.until(lambda: len(it.reports.events) == 1)
        assert it.reports.lost == 0
        assert it.recorder.waiting == 28 * 3
        await asyncio.to_thread(postgres.launch)
        await it.reports.until(lambda: it.reports.written == 29)
    assert [event.partition(":")[0] for event in it.reports.events] == ["unavailable", "back"]
    assert it.reports.events[1] == "back: 28"
    reading = PostgresSink(settings(postgres, database), 30 * DAY)
    assert (await stored(reading))[0] == 29
    await reading.close()


async def test_what_the_buffer_cannot_hold_is_lost_and_counted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sink = FileSink(tmp_path / "file", 30 * DAY)
    async with running(sink, buffer=10) as it:
        for _ in range(20):
            it.count(5)
            it.recorder.cut()
        assert it.recorder.waiting == 9  # three batches of two rows and a caller
        assert it.reports.lost == 17 * 5
        await it.reports.until(lambda: bool(it.reports.events))
        (tmp_path / "file").unlink()
        await it.reports.until(lambda: it.reports.written == 15)
        it.count(1)
    assert (it.reports.written, it.reports.lost) == (16, 85)
    assert (await stored(sink))[0] == 16


async def test_what_cannot_be_written_on_close_is_counted_and_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with running(FileSink(tmp_path / "file", 30 * DAY)) as it:
        it.count(5)
    assert (it.reports.written, it.reports.lost) == (0, 5)
    assert it.reports.events[-1] == "incomplete: 5"


async def test_a_database_that_hangs_on_close_is_waited_for_for_a_bounded_time(
    postgres: PostgresServer, database: str
) -> None:
    sink = PostgresSink(settings(postgres, database), 30 * DAY)
    try:
        async with AsyncExitStack() as stack:
            it = await stack.enter_async_context(running(sink))
            it.count(1)
            await it.reports.until(lambda: it.reports.written == 1)
            it.count(5)
            postgres.pause()
            async with at_most(5):
                await stack.aclose()
        assert (it.reports.lost, it.reports.events[-1]) == (5, "incomplete: 5")
    finally:
        postgres.resume()


async def test_an_unexpected_error_is_reported_once_and_the_batch_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_batch: object) -> None:
        raise LookupError("what now")

    sink = FileSink(tmp_path, 30 * DAY)
    with monkeypatch.context() as patched:
        patched.setattr(sink, "put", fail)
        async with running(sink) as it:
            it.count(2)
            await it.reports.until(lambda: it.reports.events == ["failed: what now"])
            patched.undo()
            await it.reports.until(lambda: it.reports.written == 2)
    assert it.reports.events == ["failed: what now", "back: 1"]
