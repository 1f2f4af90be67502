"""The log writer on real pipes, files and devices."""

import fcntl
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from gateway.telemetry.log_writer import LONGEST, LogWriter

LINE = "x" * 99 + "\n"


def notice(count: int) -> str:
    return f"dropped {count}\n"


def fill(descriptor: int) -> int:
    """Fill a pipe to the brim. Returns how many bytes that took."""
    os.set_blocking(descriptor, False)
    size = 0
    for piece in (b"-" * 4096, b"-"):
        try:
            while True:
                size += os.write(descriptor, piece)
        except BlockingIOError:
            pass
    os.set_blocking(descriptor, True)
    return size


def counted(lines: list[str]) -> int:
    """How many lines there were, dropped ones included."""
    return sum(int(line.split()[1]) if line.startswith("dropped") else 1 for line in lines)


@pytest.fixture
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    read, write = os.pipe()
    with FileIO(read, "rb") as reading, FileIO(write, "wb") as writing:
        yield reading, writing


def test_lines_go_through_a_pipe_in_order(pipe: tuple[FileIO, FileIO]) -> None:
    writer = LogWriter(pipe[1].fileno(), notice)
    pipe[1].close()  # the writer has a duplicate
    for number in range(500):
        writer.put(f"{number}\n")
    writer.close(10)
    assert pipe[0].readall().decode().split() == [str(number) for number in range(500)]
    assert writer.dropped == 0


def test_lines_are_appended_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with path.open("a") as file:
        writer = LogWriter(file.fileno(), notice)
        for _ in range(5000):
            writer.put(LINE)
        writer.close(10)
    assert path.read_text() == "before\n" + LINE * 5000


def test_a_full_pipe_never_blocks_the_caller_and_dropped_lines_are_reported(pipe: tuple[FileIO, FileIO]) -> None:
    size = fill(pipe[1].fileno())
    writer = LogWriter(pipe[1].fileno(), notice, room=100)
    for _ in range(10_000):
        writer.put(LINE)  # nobody reads: if this blocked, the test would hang
    assert writer.dropped >= 9_800
    read = threading.Thread(target=lambda: got.append(pipe[0].readall()))
    got: list[bytes] = []
    pipe[1].close()
    read.start()
    writer.close(10)
    read.join()
    lines = got[0][size:].decode().splitlines()
    assert set(lines) - {LINE.strip()} == {f"dropped {writer.dropped}"}
    assert counted(lines) == 10_000


def test_a_non_blocking_pipe_that_is_full_is_waited_for(pipe: tuple[FileIO, FileIO]) -> None:
    size = fill(pipe[1].fileno())
    os.set_blocking(pipe[1].fileno(), False)
    writer = LogWriter(pipe[1].fileno(), notice)
    pipe[1].close()
    for _ in range(1000):
        writer.put(LINE)
    got: list[bytes] = []
    read = threading.Thread(target=lambda: got.append(pipe[0].readall()))
    read.start()
    writer.close(10)
    read.join()
    # A write that was under way when the writer was closed is not tried again; all others are.
    assert counted(got[0][size:].decode().splitlines()) + writer.dropped >= 1000


@pytest.mark.parametrize("blocking", [True, False])
def test_closing_takes_bounded_time_when_nobody_reads(pipe: tuple[FileIO, FileIO], blocking: bool) -> None:
    fill(pipe[1].fileno())
    os.set_blocking(pipe[1].fileno(), blocking)
    writer = LogWriter(pipe[1].fileno(), notice)
    for _ in range(100):
        writer.put(LINE)
    began = time.monotonic()
    writer.close(0.2)
    assert time.monotonic() - began < 20  # and not for ever
    assert writer.dropped >= 100 - LONGEST // len(LINE)


def test_a_reader_that_went_away_costs_lines_and_nothing_else(pipe: tuple[FileIO, FileIO]) -> None:
    writer = LogWriter(pipe[1].fileno(), notice)
    pipe[0].close()
    for _ in range(1000):
        writer.put(LINE)
    writer.close(10)
    assert writer.dropped == 1000


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    with Path("/dev/full").open("wb") as file:
        writer = LogWriter(file.fileno(), notice)
        for _ in range(1000):
            writer.put(LINE)
        writer.close(10)
    assert writer.dropped == 1000


def test_a_closed_descriptor_costs_lines_and_nothing_else(pipe: tuple[FileIO, FileIO]) -> None:
    number = pipe[1].fileno()
    pipe[1].close()
    writer = LogWriter(number, notice)
    writer.put(LINE)
    writer.close(10)
    assert writer.dropped == 1


def test_a_descriptor_that_is_closed_and_reused_gets_no_lines(pipe: tuple[FileIO, FileIO], tmp_path: Path) -> None:
    writer = LogWriter(pipe[1].fileno(), notice)
    with (tmp_path / "other").open("wb") as file:
        os.dup2(file.fileno(), pipe[1].fileno())
        writer.put(LINE)
        writer.close(10)
        pipe[1].close()
    assert (tmp_path / "other").read_bytes() == b""
    assert pipe[0].readall().decode() == LINE


def test_lines_put_after_closing_are_dropped_and_counted(pipe: tuple[FileIO, FileIO]) -> None:
    writer = LogWriter(pipe[1].fileno(), notice)
    writer.close(10)
    writer.put(LINE)
    assert writer.dropped == 1


def test_a_line_torn_by_a_full_disk_does_not_run_into_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("wb") as file:
        writer = LogWriter(file.fileno(), notice)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard))
        try:
            writer.put(LINE)
            writer.put(LINE)
            while writer.dropped == 0:
                os.sched_yield()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.put("last\n")
        writer.close(10)
    assert path.read_text() == LINE + "x" * 50 + "\nlast\ndropped 1\n"


WRITER = """
import sys
from gateway.telemetry.log_writer import LogWriter
writer = LogWriter(2, "dropped {}\\n".format, room=100_000)
for number in range(2000):
    writer.put(sys.argv[1] * (100 + number % 1000) + "\\n")
writer.close(60)
"""


def test_lines_of_workers_that_share_a_full_pipe_do_not_mix(pipe: tuple[FileIO, FileIO]) -> None:
    fcntl.fcntl(pipe[1].fileno(), fcntl.F_SETPIPE_SZ, 4096)
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, name], stderr=pipe[1]) for name in "abc"]
    pipe[1].close()
    lines = pipe[0].readall().decode().splitlines()
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert {frozenset(line) for line in lines} == {frozenset(name) for name in "abc"}
    assert len(lines) == 6000
