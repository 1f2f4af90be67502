"""The log on real pipes, files and terminals, under both event loops."""

import asyncio
import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.limiter.verdict import Outcome
from gateway.settings.log import LogPolicy
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.log import Log, open_log, open_plain_log
from gateway.telemetry.stdlib_handler import StdlibHandler

Run = Callable[[Coroutine[Any, Any, None]], None]
REQUEST = AccessRecord("7f-1", "orders", "GET", b"0f" * 16, Outcome.ALLOWED, 200, 0.01)
SECRET = "eyJhbGciOi-alice@example.com"


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    yield descriptor
    os.close(descriptor)


def logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def write_three_lines(log: Log) -> None:
    log.event("started", port=8080)
    log.access(REQUEST)
    log.event("redis_unavailable", level="warning", reason="timeout")
    await log.close()


def test_a_file_gets_json_lines(run: Run, path: Path, file: int) -> None:
    run(write_three_lines(open_log(file, origin={"worker": 1})))
    lines = logged(path)
    assert sorted(line["event"] for line in lines) == ["redis_unavailable", "request", "started"]
    assert {line["worker"] for line in lines} == {1}
    assert {line["pid"] for line in lines} == {os.getpid()}


def test_a_pipe_gets_json_lines(run: Run) -> None:
    read, write = os.pipe()
    run(write_three_lines(open_log(write)))
    os.close(write)
    with os.fdopen(read, "rb") as lines:
        assert sorted(json.loads(line)["event"] for line in lines) == ["redis_unavailable", "request", "started"]


def test_a_terminal_gets_readable_text(run: Run) -> None:
    controller, terminal = pty.openpty()
    run(write_three_lines(open_log(terminal, origin={"worker": 1})))
    text = os.read(controller, 4096).decode()
    os.close(controller)
    os.close(terminal)
    assert " warning redis_unavailable  reason=timeout  worker=1\r\n" in text
    assert " info    started  port=8080  worker=1\r\n" in text
    assert " info    GET orders 200 allowed  10.0 ms  caller=" in text


def test_a_terminal_that_was_hung_up_costs_lines_and_nothing_else(run: Run) -> None:
    controller, terminal = pty.openpty()
    log = open_log(terminal)
    os.close(controller)
    run(write_three_lines(log))
    os.close(terminal)
    assert log.dropped == 3


@pytest.mark.parametrize(("choice", "start"), [("json", "{"), ("text", "2")])
def test_the_format_can_be_chosen(run: Run, path: Path, file: int, choice: Any, start: str) -> None:
    run(write_three_lines(open_log(file, policy=LogPolicy(format=choice))))
    assert {line[0] for line in path.read_text().splitlines()} == {start}


def test_events_below_the_level_are_left_out(run: Run, path: Path, file: int) -> None:
    async def main() -> None:
        log = open_log(file, policy=LogPolicy(level="warning"))
        log.event("a", level="debug")
        log.event("b", level="info")
        log.event("c", level="warning")
        log.event("d", level="error")
        await log.close()

    run(main())
    assert [line["event"] for line in logged(path)] == ["c", "d"]


def test_the_supervisors_log_has_a_level_and_a_format_as_well(path: Path, file: int) -> None:
    log = open_plain_log(file, policy=LogPolicy(level="warning", format="text"))
    log.event("a")
    log.event("b", level="warning")
    assert [line.split()[1:3] for line in path.read_text().splitlines()] == [["warning", "b"]]


def test_a_line_that_aiologger_has_not_yet_handled_is_written_before_closing(run: Run, path: Path, file: int) -> None:
    async def main() -> None:
        log = open_log(file)
        for number in range(100):
            log.event("step", number=number)
        await log.close()

    run(main())
    assert [line["number"] for line in logged(path)] == list(range(100))


def test_events_are_logged_without_an_event_loop_and_from_other_threads(run: Run, path: Path, file: int) -> None:
    log = open_log(file)
    log.event("early")
    log.event("quiet", level="debug")

    async def main() -> None:
        await asyncio.to_thread(log.event, "elsewhere")
        await log.close()

    run(main())
    assert [line["event"] for line in logged(path)] == ["early", "elsewhere"]


def test_closing_twice_does_nothing_and_what_comes_after_is_counted(run: Run, path: Path, file: int) -> None:
    async def main() -> None:
        log = open_log(file)
        await log.close()
        await log.close()
        log.access(REQUEST)
        log.event("late")
        await asyncio.sleep(0)
        assert log.dropped == 2

    run(main())
    assert path.read_text() == ""


def test_a_failure_is_logged_with_its_type_and_trace_but_not_its_message(run: Run, path: Path, file: int) -> None:
    async def main() -> None:
        log = open_log(file)
        try:
            dict[str, str]()[SECRET]
        except KeyError as error:
            log.failure("request_failed", error, endpoint="orders")
        await log.close()

    run(main())
    (line,) = logged(path)
    assert line["error"] == "KeyError"
    assert line["endpoint"] == "orders"
    assert line["trace"][-1].startswith("telemetry/test_log.py:")
    assert SECRET not in path.read_text()


def test_what_libraries_log_is_logged_without_its_arguments(run: Run, path: Path, file: int) -> None:
    async def main() -> None:
        log = open_log(file, policy=LogPolicy(level="debug"))
        logger = logging.Logger("aiohttp.server")  # noqa: LOG001 - a logger of its own leaves nothing behind
        logger.addHandler(StdlibHandler(log))
        logger.error("Error handling request from %s\nand more", SECRET, exc_info=ValueError(SECRET))
        logger.error("cannot go on")
        logger.warning("odd header %s", SECRET)
        logger.info("hello")
        logger.debug("details")
        await log.close()

    run(main())
    lines = logged(path)
    assert [(line["event"], line["level"], line["message"]) for line in lines] == [
        ("library", "error", "Error handling request from %s"),
        ("library", "error", "cannot go on"),
        ("library", "warning", "odd header %s"),
        ("library", "info", "hello"),
        ("library", "debug", "details"),
    ]
    assert lines[0]["error"] == "ValueError"
    assert {line["logger"] for line in lines} == {"aiohttp.server"}
    assert SECRET not in path.read_text()


WORKER = """
import asyncio, os, uvloop
from gateway.telemetry.log import open_log, open_plain_log

# libuv aborts the process when it is given descriptor 2 for a purpose of its own.
while os.open(os.devnull, os.O_RDWR) <= 2:
    pass

async def main():
    log = open_log()
    log.event("started")
    await log.close()
    print(log.dropped)

plain = open_plain_log()
plain.event("supervising")
print(plain.dropped)
uvloop.run(main())
"""


def test_standard_error_may_be_a_file(tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        done = subprocess.run([sys.executable, "-c", WORKER], stderr=err, stdout=subprocess.PIPE, check=True)
    assert [line["event"] for line in logged(tmp_path / "err")] == ["supervising", "started"]
    assert done.stdout.split() == [b"0", b"0"]


def test_a_closed_standard_error_costs_lines_and_nothing_else() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, WORKER], stdout=subprocess.PIPE, check=True
    )
    assert done.stdout.split() == [b"1", b"1"]


def test_the_supervisors_log_never_waits_for_a_full_pipe() -> None:
    read, write = os.pipe()
    log = open_plain_log(write, origin={"worker": "supervisor"})
    while log.dropped == 0:
        log.event("worker_ended", cause="SIGKILL")
    os.read(read, 1 << 20)
    log.event("worker_started")
    assert json.loads(os.read(read, 4096))["event"] == "worker_started"
    os.close(read)
    log.event("unread")
    os.close(write)
    log.event("nowhere")
    assert log.dropped == 3
