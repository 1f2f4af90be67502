"""A rolling restart: the program and the settings on disk take over, and no request is lost."""

import asyncio
import os
import re
import resource
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.kit.process import Process, cli, gateway, ports
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, until
from tests.wire import Client, ask, get, upstream

RULES = "limits:\n  - {name: each, per: user, rate: 1000000/s}\n"


_BREATH = 0.1
"""Seconds between two requests of a client. Without it, clients take the time that the restart needs."""


class Crowd:
    """Clients that go on asking, over kept connections and new ones."""

    def __init__(self, port: int | Path, **options: Any) -> None:
        self._port = port
        self._options = options
        self._over = False
        self._asked = asyncio.Condition()
        self.statuses: Counter[int] = Counter()

    async def keep_asking(self) -> None:
        while not self._over:
            async with Client.connect(self._port, **self._options) as client:
                while not self._over:
                    answer = await client.ask(get("/", "X-User-Id: ana"))
                    await self._note(answer.status)
                    if answer.all(b"connection"):
                        break

    async def come_anew(self) -> None:
        while not self._over:
            async with Client.connect(self._port, **self._options) as client:
                await self._note((await client.ask(get("/", "X-User-Id: ana"))).status)

    async def _note(self, status: int) -> None:
        async with self._asked:
            self.statuses[status] += 1
            self._asked.notify_all()
        await asyncio.sleep(_BREATH)

    async def asks(self, times: int) -> None:
        """Wait until so many more requests have been answered."""
        until = self.statuses.total() + times
        async with asyncio.timeout(DEADLINE), self._asked:
            await self._asked.wait_for(lambda: self.statuses.total() >= until)

    def end(self) -> None:
        self._over = True


@asynccontextmanager
async def crowd(port: int | Path, **options: Any) -> AsyncIterator[Crowd]:
    """A crowd of which nobody may fail while the block runs."""
    made = Crowd(port, **options)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(made.keep_asking())
            group.create_task(made.come_anew())
        yield made
        made.end()


def configure(folder: Path, upstream: int, store: str, workers: int, more: str = "") -> Path:
    (folder / "rules.yaml").write_text(RULES)
    file = folder / "gateway.yaml"
    file.write_text(
        f"upstreams: {{default: {{urls: [http://127.0.0.1:{upstream}]}}}}\n"
        f"store: {{url: '{store}', deadline: 5s}}\nworkers: {workers}\nrules: rules.yaml\n"
        f"listen: 127.0.0.1:0\ncontrol: {{listen: 127.0.0.1:0}}\n{more}"
    )
    return file


async def restart(process: Process) -> None:
    """Restart a gateway, and wait until nothing is left of what it was."""
    done = process.output.count("restart: done")
    process.signal(signal.SIGUSR2)
    await until(lambda: process.output.count("restart: done") > done)  # a pattern would search every line's log again


async def total(control: int) -> float:
    text = (await ask(control, get("/metrics"))).body.decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("gateway_requests_total{"))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.untraced
async def test_no_request_is_lost_while_all_processes_are_replaced_and_counters_go_on(
    workers: int, tmp_path: Path
) -> None:
    async with redis_server() as redis, upstream() as up:
        file = configure(tmp_path, up.port, redis.url, workers)
        async with gateway("--config", file) as (process, public, control):
            await process.says(rf"(?s)(worker_serving.*){{{workers}}}")
            seen = set(process.children)
            async with crowd(public) as asking:
                for _ in range(2):
                    await asking.asks(80)
                    await restart(process)
                    now = set(process.children)
                    assert len(now) == workers
                    assert not now & seen
                    seen |= now
                await asking.asks(80)
            assert asking.statuses.keys() == {200}
            assert await total(control) == asking.statuses.total() == len(up.requests)
            assert (await ask(control, get("/readyz"))).status == 200
            text = (await ask(control, get("/metrics"))).body.decode()
            assert 'gateway_worker_starts_total{cause="restart",worker="0"} 2.0' in text
            assert text.count("gateway_worker_up{") == workers
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert "Traceback" not in process.output


@pytest.mark.untraced
async def test_new_settings_are_in_force_after_it_and_may_be_of_more_or_fewer_workers(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as old, upstream() as new:
        file = configure(tmp_path, old.port, redis.url, 2)
        async with gateway("--config", file) as (process, public, control), crowd(public) as asking:
            for workers in (3, 1):
                await asking.asks(40)
                configure(tmp_path, new.port, redis.url, workers)
                await restart(process)
                assert len(process.children) == workers
                before = len(old.requests)
                await asking.asks(40)
                assert len(old.requests) == before
            assert len(new.requests) >= 200
            text = (await ask(control, get("/metrics"))).body.decode()
            assert text.count("gateway_worker_up{") == 1
        assert asking.statuses.keys() == {200}


async def test_settings_that_cannot_be_used_are_told_and_all_goes_on_as_it_was(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        file = configure(tmp_path, up.port, redis.url, 2)
        async with (
            Process.start(*cli("serve", "--config", file)) as process,
            crowd((await ports(process))[0]) as asking,
        ):
            await process.says(r"(?s)(worker_serving.*){2}")
            before = process.children
            for number, broken in enumerate(("workers: many", f"listen: 127.0.0.1:{up.port}"), 1):
                configure(tmp_path, up.port, redis.url, 2)
                text = file.read_text()
                file.write_text(re.sub(rf"(?m)^{broken.partition(':')[0]}: .*$", broken, text))
                process.signal(signal.SIGUSR2)
                await process.says(rf"(?s)(restart refused.*everything goes on as before.*){{{number}}}")
                await asking.asks(40)
                assert process.children == before
            assert "gateway.yaml:3:10: workers" in process.output
            assert f"cannot listen on 127.0.0.1:{up.port}" in process.output
            configure(tmp_path, up.port, redis.url, 2)
            await restart(process)
        assert asking.statuses.keys() == {200}


async def test_a_dry_run_that_cannot_be_started_refuses_a_restart(tmp_path: Path) -> None:
    """Python has been taken away, as by a new environment in the place of the old one."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "venv" / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    (tmp_path / "venv" / "lib").symlink_to(Path(sys.prefix) / "lib")
    async with upstream() as up:
        file = configure(tmp_path, up.port, "memory", 1)
        async with Process.start(python, "-m", "gateway", "serve", "--config", file) as process:
            public, _ = await ports(process)
            await process.says("worker_serving")
            before = process.children
            python.unlink()
            process.signal(signal.SIGUSR2)
            await process.says("restart refused: the dry run cannot be started: .* everything goes on as before")
            assert (process.children, (await ask(public, get())).status) == (before, 200)
            python.symlink_to(sys.executable)
            await restart(process)


async def test_an_audit_log_that_cannot_be_written_refuses_a_restart(tmp_path: Path) -> None:
    async with upstream() as up:
        file = configure(tmp_path, up.port, "memory", 1)
        file.write_text(file.read_text().replace("control: {", "control: {state: state, "))
        async with gateway("--config", file) as (process, public, _):
            await process.says("worker_serving")
            before = process.children
            with (tmp_path / "state" / "audit.jsonl").open("a") as audit:
                audit.write("somebody's note\n")
            process.signal(signal.SIGUSR2)
            await process.says("restart refused")
            assert "is damaged" in process.output
            assert (process.children, (await ask(public, get())).status) == (before, 200)


async def test_a_connection_that_no_worker_has_taken_yet_is_taken_by_the_next(tmp_path: Path) -> None:
    """Its worker is stopped when it comes, and told to leave before it goes on."""
    async with redis_server() as redis, upstream() as up:
        file = configure(tmp_path, up.port, redis.url, 1)
        async with gateway("--config", file) as (process, public, _):
            await process.says("worker_serving")
            (worker,) = process.children
            os.kill(worker, signal.SIGSTOP)
            waiting = asyncio.gather(*(ask(public, get()) for _ in range(50)))
            process.signal(signal.SIGUSR2)
            assert {answer.status for answer in await waiting} == {200}
            os.kill(worker, signal.SIGCONT)
            await process.says("restart: done")


async def test_a_request_under_way_is_answered_by_the_worker_that_took_it(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        file = configure(tmp_path, up.port, redis.url, 2)
        async with gateway("--config", file) as (process, public, _), Client.connect(public) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhel")
            process.signal(signal.SIGUSR2)
            await process.says(r"(?s)(is replaced by.*){2}")
            await client.send(b"lo")
            assert (await client.answer()).status == 200
            await process.says("restart: done")
    assert up.requests[0].body == b"hello"


@pytest.mark.untraced
async def test_a_worker_that_is_killed_in_the_middle_of_it_is_replaced_and_the_restart_goes_on(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        file = configure(tmp_path, up.port, redis.url, 2)
        async with gateway("--config", file) as (process, public, _):
            await process.says(r"(?s)(worker_serving.*){2}")
            before = process.children
            process.signal(signal.SIGUSR2)
            await process.says("is replaced by")
            for worker in before:
                with suppress(ProcessLookupError):  # it may have left by now
                    os.kill(worker, signal.SIGKILL)
            await process.says("restart: done")
            await until(lambda: len(process.children) == 2)
            answers = await asyncio.gather(*(ask(public, get()) for _ in range(40)))
            assert {answer.status for answer in answers} == {200}
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0


async def test_a_new_worker_that_dies_before_it_serves_is_followed_by_another(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        file = configure(tmp_path, up.port, redis.url, 1)
        async with gateway("--config", file) as (process, public, _):
            await process.says("worker_serving")
            before = process.children
            process.signal(signal.SIGUSR2)
            await process.says(r"(?s)(gateway [^\n]+ on http.*){2}")
            await until(lambda: process.children[1:])
            os.kill(process.children[-1], signal.SIGKILL)
            await process.says("restart: done")
            assert set(before).isdisjoint(process.children)
            assert (await ask(public, get())).status == 200


async def test_a_restart_requested_during_a_dry_run_that_fails_is_done_afterwards(tmp_path: Path) -> None:
    """Whoever has repaired the settings meanwhile need not ask again."""
    async with upstream() as up:
        file = configure(tmp_path, up.port, "memory", 1)
        good = file.read_text()
        async with gateway("--config", file) as (process, _public, _):
            await process.says("worker_serving")
            file.write_text(good.replace("workers: 1", "workers: many"))
            process.signal(signal.SIGUSR2)
            await process.says("dry run with")
            process.signal(signal.SIGUSR2)
            await process.says(r"(?s)restart refused.*dry run with")
            file.write_text(good)
            await until(lambda: "restart: done" in process.output or process.output.count("refused") == 2)
            if "restart: done" not in process.output:  # the second dry run was faster than we
                await restart(process)


@pytest.mark.untraced
async def test_a_gateway_that_is_stopped_in_the_middle_does_not_say_that_it_is_done(tmp_path: Path) -> None:
    """Its old worker is stopped, so that it has not left when the gateway ends."""
    with TemporaryDirectory() as runtime:  # whose path is short enough for a socket
        async with upstream() as up:
            file = configure(tmp_path, up.port, "memory", 1, "drain_time: 1s\n")
            async with gateway("--config", file, TMPDIR=runtime) as (process, _public, _):
                await process.says("worker_serving")
                os.kill(process.children[0], signal.SIGSTOP)
                process.signal(signal.SIGUSR2)
                await process.says("is replaced by")
                process.signal(signal.SIGTERM)
                assert await process.ends() == 1
                assert "did not exit in" in process.output
                assert "restart: done" not in process.output
                assert not os.listdir(runtime)  # noqa: PTH208 - nothing is left


async def test_a_restart_is_refused_where_there_is_no_room_for_what_workers_share(tmp_path: Path) -> None:
    """Nothing can be written any more, as on a disk that is full."""
    async with upstream() as up:
        file = configure(tmp_path, up.port, "memory", 1)
        async with gateway("--config", file) as (process, public, _):
            await process.says("worker_serving")
            before = process.children
            most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            process.signal(signal.SIGUSR2)
            await process.says("restart refused")
            assert "no folder for the sockets on which workers meet" in process.output
            assert (process.children, (await ask(public, get())).status) == (before, 200)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, most)
            await restart(process)
