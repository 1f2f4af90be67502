"""Workers among themselves: all or nothing, whichever of them fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import Worker
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.control.reload import worker_channel
from gateway.control.reload.worker_channel import Message, Workers, WorkerUnresponsiveError
from gateway.process.runtime import Runtime, WorkerContext
from gateway.process.sockets import bind
from gateway.telemetry.shared_memory import SharedCounters
from tests.auth.keys import token
from tests.control.fleet import RULES
from tests.control.running import Running, settings


@asynccontextmanager
async def mute(folder: Path, number: int) -> AsyncIterator[None]:
    """A worker that is there and says nothing."""
    gone = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_unix_server(listen, folder / f"{number}.sock")
    try:
        yield
    finally:
        gone.set()
        server.close()


async def test_all_other_workers_are_asked_and_those_that_have_stopped_are_left_out(tmp_path: Path) -> None:
    heard: list[Message] = []

    async def answer(message: Message) -> Message:
        heard.append(message)
        return {"n": len(heard)}

    async with Workers(tmp_path, 0, 4).listening(answer), Workers(tmp_path, 1, 4).listening(answer):
        assert await Workers(tmp_path, 0, 4).ask({"do": "x"}) == [{"n": 1}]
        assert sorted(each["n"] for each in await Workers(tmp_path, 3, 4).ask({"do": "y"})) == [2, 3]
    assert await Workers(tmp_path, 3, 4).ask({"do": "z"}) == []


async def test_a_worker_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_channel, "TIMEOUT", 0.05)
    async with mute(tmp_path, 1):
        with pytest.raises(WorkerUnresponsiveError, match="worker 1 did not reply"):
            await Workers(tmp_path, 0, 2).ask({"do": "x"})


@asynccontextmanager
async def first_of_two(folder: Path) -> AsyncIterator[Running]:
    """Worker 0 of a gateway of two; a test plays the other one."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    made = replace(settings(control={"state": folder / "state"}), rules=rules)
    loaded = Loaded(made, load(None, Flags(upstream="http://127.0.0.1:9", rules=str(rules))).rules)
    bound = {plane: {each: bind(each) for each in listeners} for plane, listeners in made.listeners.items()}
    stop = asyncio.Event()
    worker = Worker(
        loaded,
        bound,
        [SharedCounters(), SharedCounters()],
        WorkerContext(Runtime(folder, "2026-01-01T00:00:00Z"), 0, 2),
    )
    running = asyncio.create_task(worker.run(stop))
    try:
        yield Running(*(next(iter(each.values()))[0].getsockname()[1] for each in bound.values()))
    finally:
        stop.set()
        await running


@pytest.mark.parametrize("kind", ["fails", "hangs"])
async def test_rules_that_one_worker_cannot_take_over_are_taken_over_by_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_channel, "TIMEOUT", 0.2)
    heard: list[str] = []

    async def fail(message: Message) -> Message:
        heard.append(message["do"])
        return {"error": "no memory"}

    other = mute(tmp_path, 1) if kind == "hangs" else Workers(tmp_path, 1, 2).listening(fail)
    reload = token("reload limits:read")
    async with first_of_two(tmp_path) as running:
        before = (await running.call("GET", "/api/v1/admin/rules", token=reload)).body
        (tmp_path / "rules.yaml").write_text(RULES.replace("burst: 10", "burst: 20"))
        async with other:
            answer = await running.call("POST", "/api/v1/admin/reload", token=reload)
            assert answer.status == 503
            assert (await running.call("GET", "/api/v1/admin/rules", token=reload)).body == before
        assert heard == ([] if kind == "hangs" else ["prepare"])
        assert not (tmp_path / "in-force").exists()
        # Once it is gone, nothing holds the others up.
        assert (await running.call("POST", "/api/v1/admin/reload", token=reload)).status == 200


async def test_a_worker_that_fails_after_it_agreed_is_reported_as_such(tmp_path: Path) -> None:
    async def agree_and_fail(message: Message) -> Message:
        return {} if message["do"] == "prepare" else {"error": "no memory"}

    reload = token("reload limits:read")
    async with first_of_two(tmp_path) as running, Workers(tmp_path, 1, 2).listening(agree_and_fail):
        before = (await running.call("GET", "/api/v1/admin/rules", token=reload)).body
        (tmp_path / "rules.yaml").write_text(RULES.replace("burst: 10", "burst: 20"))
        answer = await running.call("POST", "/api/v1/admin/reload", token=reload)
        assert (answer.status, answer.body["detail"][:26]) == (503, "the new rules are in force")
        after = (await running.call("GET", "/api/v1/admin/rules", token=reload)).body
        assert after["revision"] != before["revision"]
