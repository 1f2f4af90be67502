"""The decisions of some limits in the last minutes, from both sinks."""

from pathlib import Path

import pytest

from gateway.analytics.open import open_sink
from gateway.analytics.recent import LimitDecisions, read_recent
from gateway.analytics.sink import SinkUnavailableError
from gateway.settings.analytics import Analytics
from tests.analytics.builders import MINUTE, batch
from tests.analytics.test_postgres import settings
from tests.postgres_server import PostgresServer


@pytest.fixture(params=["files", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer, database: str) -> Analytics:
    if request.param == "files":
        return Analytics(folder=tmp_path / "analytics")
    return Analytics(postgres=settings(postgres, database))


async def test_they_are_those_of_the_limits_asked_for_in_the_last_quarter_of_an_hour(place: Analytics) -> None:
    sink = open_sink(place)
    for minute, times in ((-15, 1000), (-14, 1), (-1, 2), (0, 4), (1, 1000)):
        await sink.put(batch(times, hits=[("aa", times), (f"b{minute}", 1)], minute=MINUTE + 60 * minute))
    await sink.put(batch(100, limit="other"))
    await sink.close()
    recent = await read_recent(place, ["each", "new"], MINUTE + 59.0)
    assert (recent.period.since, recent.period.until) == (MINUTE - 14 * 60, MINUTE + 60)
    assert recent.limits == [LimitDecisions("each", {"refused": 7}, 4), LimitDecisions("new", {}, 0)]


async def test_a_place_that_nothing_was_written_to_has_none(place: Analytics) -> None:
    recent = await read_recent(place, ["each"], MINUTE)
    assert recent.limits == [LimitDecisions("each", {}, 0)]


async def test_a_place_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "analytics").write_text("no folder")
    with pytest.raises(SinkUnavailableError, match="analytics cannot be read: Not a directory"):
        await read_recent(Analytics(folder=tmp_path / "analytics"), ["each"], MINUTE)
