"""Batches in files: whole lines whoever writes at once, whatever was torn, and a disk that is full."""

import asyncio
import fcntl
import json
import resource
import signal
import sys
from pathlib import Path

import pytest

from gateway.analytics.batch import format_minute
from gateway.analytics.files import FileSink
from gateway.analytics.sink import SinkUnavailableError
from tests.analytics.builders import ALWAYS, DAY, MINUTE, batch, stored
from tests.kit.process import Process

WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.analytics.files import FileSink
from tests.analytics.builders import DAY, batch

async def write():
    sink = FileSink(Path(sys.argv[1]), 30 * DAY)
    for _ in range(50):
        await sink.put(batch(1, hits=[(f"{number:032}", 1) for number in range(100)]))

asyncio.run(write())
"""


def sink_in(folder: Path) -> FileSink:
    return FileSink(folder, 30 * DAY)


async def test_processes_that_write_at_once_do_not_mix_up_their_lines(tmp_path: Path) -> None:
    processes = [Process.start(sys.executable, "-c", WRITER, tmp_path) for _ in range(4)]
    async with processes[0] as one, processes[1] as two, processes[2] as three, processes[3] as four:
        assert [await each.ends() for each in (one, two, three, four)] == [0] * 4
    totals = await sink_in(tmp_path).read(ALWAYS)
    assert (await stored(sink_in(tmp_path)))[0] == 200
    assert (set(totals.hits.values()), len(totals.hits), totals.unreadable) == ({200}, 100, 0)


async def test_a_line_is_json_in_a_file_of_its_day_that_others_may_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    await sink_in(folder).put(batch(7, minute=MINUTE + DAY - 60, hits=[("aa", 7)], spent=[("bb", 8)]))
    (file,) = folder.iterdir()
    assert file.name == "analytics-2026-02-01.jsonl"
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    minute = "2026-02-01T23:59Z"
    assert format_minute(MINUTE + DAY - 60) == minute
    decision = {"minute": minute, "endpoint": "orders", "tier": "", "outcome": "refused", "count": 7}
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {**decision, "limit": ""},
        {**decision, "limit": "each"},
        {"minute": minute, "limit": "each", "caller": "aa", "refused": 7},
        {"minute": minute, "endpoint": "orders", "limit": "each", "caller": "bb", "cost": 8},
    ]
    assert (await sink_in(folder).read(ALWAYS)).spent == {("orders", "each", "bb"): 8}


async def test_a_line_that_was_torn_costs_itself_and_no_other(tmp_path: Path) -> None:
    await sink_in(tmp_path).put(batch(1))
    file = tmp_path / "analytics-2026-02-01.jsonl"
    with file.open("ab") as torn:
        torn.write(b'{"minute": "2026-02-01T00:00Z", "endpo')
    await sink_in(tmp_path).put(batch(2))
    with file.open("ab") as odd:
        odd.write(b'[]\nnull\n{"minute": 5}\n\xff\n{"minute": "2026-02-01T00:00Z", "limit": "a", "caller": "b"}\n')
    totals = await sink_in(tmp_path).read(ALWAYS)
    assert totals.unreadable == 6
    assert (await stored(sink_in(tmp_path)))[0] == 3


async def test_what_did_not_fit_on_the_disk_is_removed_and_written_later(tmp_path: Path) -> None:
    """A disk that is full in the middle of a batch, simulated by a bound on the size of files."""
    writing = sink_in(tmp_path)
    await writing.put(batch(1))
    file = tmp_path / "analytics-2026-02-01.jsonl"
    before, bounds = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, bounds[1]))
    one = batch(1, hits=[("aa", 1)])
    try:
        with pytest.raises(SinkUnavailableError, match="cannot be written: File too large"):
            await writing.put(one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == before
    await writing.put(one)
    assert await stored(writing) == (2, {("each", "aa"): 1})


async def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("notes.txt", "analytics-2026-02-01.jsonl.bak", "analytics-x.jsonl")]
    for other in others:
        other.write_text("mine\n")
    await sink_in(tmp_path).put(batch(1, minute=MINUTE + 99 * DAY))
    assert (await sink_in(tmp_path).read(ALWAYS)).unreadable == 0
    assert [other.read_text() for other in others] == ["mine\n"] * 3


async def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkUnavailableError, match="file cannot be written: "):
        await sink_in(tmp_path / "file").put(batch(1))
    with pytest.raises(SinkUnavailableError, match="file cannot be read: Not a directory"):
        await sink_in(tmp_path / "file").read(ALWAYS)


async def test_a_writer_that_waits_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    """Another process holds the lock."""
    writing = sink_in(tmp_path)
    await writing.put(batch(1))
    file = tmp_path / "analytics-2026-02-01.jsonl"
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = asyncio.ensure_future(writing.put(batch(1)))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
    await waiting
    assert (await stored(writing))[0] == 2


async def test_a_lock_is_waited_for_for_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.analytics.files._LOCK_TIMEOUT", 0.05)
    writing, one = sink_in(tmp_path), batch(1)
    await writing.put(batch(1))
    with (tmp_path / "analytics-2026-02-01.jsonl").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SinkUnavailableError, match="cannot be written: another process holds the lock"):
            await writing.put(one)
    await writing.put(one)
    assert (await stored(writing))[0] == 2
