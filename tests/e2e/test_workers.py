"""Several workers and several gateways share one budget in a real Redis, and lose nothing when one of them dies."""

import asyncio
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.kit.process import Process, cli, gateway, run
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, eventually, until
from tests.wire import OK, Client, Conversation, ask, get, upstream

RULES = """
limits:
  - name: everyone
    per: user
    rate: 1/day
    burst: 40
"""


def rules(folder: Path) -> str:
    path = folder / "rules.yaml"
    path.write_text(RULES)
    return str(path)


def patient(folder: Path, store: str) -> str:
    """A configuration in which a busy machine is not taken for a Redis that is away."""
    path = folder / "gateway.yaml"
    path.write_text(f"store: {{url: '{store}', deadline: 5s}}\n")
    return str(path)


async def test_workers_and_gateways_on_one_redis_admit_the_burst_once(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        served = ("--upstream", f"http://127.0.0.1:{up.port}", "--rules", rules(tmp_path))
        arguments = (*served, "--config", patient(tmp_path, redis.url), "--workers", "2")
        async with (
            gateway(*arguments) as (one, first, _),
            gateway(*arguments) as (_two, second, _),
        ):
            assert "workers  2" in one.output
            asked = [ask(port, get("/", "X-User-Id: ana")) for port in (first, second) for _ in range(60)]
            statuses = [answer.status for answer in await asyncio.gather(*asked)]
            assert (statuses.count(200), statuses.count(429)) == (40, 80)
            assert len(up.requests) == 40


async def test_the_memory_store_with_several_workers_is_an_error_that_says_why() -> None:
    code, output = await run(*cli("serve", "--upstream", "http://127.0.0.1:9", "--workers", "2"))
    assert code == 2
    assert "workers" in output
    assert "memory" in output


async def test_redis_that_is_unavailable_at_the_start_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        redis.kill()
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--rules", rules(tmp_path))
        async with gateway(*arguments, "--workers", "1") as (process, public, control):
            statuses = [(await ask(public, get())).status for _ in range(50)]
            assert statuses == [200] * 40 + [429] * 10
            assert (await ask(control, get("/readyz"))).body == b'{"status": "degraded"}'
            assert len(re.findall("redis_unavailable", process.output)) == 1


async def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on() -> None:
    async with redis_server() as redis, upstream() as up:
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url)
        async with gateway(*arguments, "--workers", "2") as (process, public, _):
            await process.says(r"(?s)worker_serving.*worker_serving")
            before = process.children
            assert len(before) == 2
            os.kill(before[0], signal.SIGKILL)
            said = await process.says(r"worker \d \(pid (\d+)\) ended with SIGKILL.*\n")
            assert int(said[1]) == before[0]
            await process.says(r"(?s)(worker_serving.*){3}")
            assert before[1] in process.children
            # Connections waiting on the dead worker's socket are taken by its successor: none is refused.
            answers = await asyncio.gather(*(ask(public, get()) for _ in range(40)))
            assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize("reader", ["closed", "full"])
async def test_a_worker_is_replaced_though_nobody_reads_the_log(reader: str, reserve: Callable[[], int]) -> None:
    """The supervisor has to say that a worker has ended; nobody hears it, and it goes on."""
    port, control = reserve(), reserve()
    read, write = os.pipe()
    if reader == "full":
        os.set_blocking(write, False)
        with suppress(BlockingIOError):
            while os.write(write, bytes(4096)):
                pass
        os.set_blocking(write, True)
    listen = f"--listen 127.0.0.1:{port} --control 127.0.0.1:{control}"
    async with redis_server() as redis, upstream() as up:
        arguments = f"--upstream http://127.0.0.1:{up.port} --store {redis.url} --workers 2 {listen}"
        command = f"exec {sys.executable} -m gateway serve {arguments} 2>/proc/{os.getpid()}/fd/{write}"
        async with Process.start("sh", "-c", command) as process:

            async def serve() -> bool:
                with suppress(ConnectionError):
                    return (await ask(control, get("/readyz"))).status == 200 and len(process.children) == 2
                return False

            await eventually(serve)
            if reader == "closed":
                os.close(read)
            before = process.children
            os.kill(before[0], signal.SIGKILL)
            await eventually(lambda: _others(process, before))
            await eventually(serve)
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
    for descriptor in (write, read) if reader == "full" else (write,):
        os.close(descriptor)


async def _others(process: Process, before: list[int]) -> bool:
    return len(process.children) == 2 and process.children != before


async def test_a_worker_that_cannot_be_started_is_tried_again_until_it_can() -> None:
    async with upstream() as up, gateway("--upstream", f"http://127.0.0.1:{up.port}") as (process, public, _):
        await process.says("worker_serving")
        (worker,) = process.children
        before = resource.prlimit(
            process.pid, resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        )
        os.kill(worker, signal.SIGKILL)
        await process.says(r"(?s)(worker 0 cannot be started: .*Too many open files; trying again in .*){2}")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
        await process.says(r"(?s)(worker_serving.*){2}")
        assert (await ask(public, get())).status == 200


async def test_a_worker_that_fails_says_why_in_one_line() -> None:
    with TemporaryDirectory() as folder:  # whose path is short enough for a socket
        await _fail_in(Path(folder))


async def _fail_in(folder: Path) -> None:
    async with upstream() as up:
        served = ("--upstream", f"http://127.0.0.1:{up.port}")
        async with gateway(*served, TMPDIR=str(folder)) as (process, _public, _):
            await process.says("worker_serving")
            runtime = folder / os.listdir(folder)[0]  # noqa: PTH208 - one entry
            runtime.rename(folder / "elsewhere")
            os.kill(process.children[0], signal.SIGKILL)
            said = await process.says(r'\{.*"event": "worker_failed".*\n')
            assert '"why": "[Errno 2] No such file or directory"' in said[0]
            await process.says("ended with exit code 1")
            (folder / "elsewhere").rename(runtime)
            await process.says(r"(?s)(worker_serving.*){2}")
            assert "Traceback" not in process.output


async def test_a_request_on_the_control_port_that_does_not_come_holds_up_no_end(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("control: {check_from: [127.0.0.0/8]}\ndrain_time: 1s\n")
    async with upstream() as up:
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--config", tmp_path / "gateway.yaml")
        async with gateway(*arguments) as (process, _public, control), Client.connect(control) as slow:
            await process.says("worker_serving")
            fields = ("Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
            await slow.send(get("/api/v1/check-limit", *fields, method="POST"))
            assert (await slow.reader.readline()).startswith(b"HTTP/1.1 100")  # it is waited for
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert "is killed" not in process.output


async def test_sigterm_lets_requests_in_flight_finish_and_tells_clients_to_leave() -> None:
    arrived, release = asyncio.Semaphore(0), asyncio.Event()

    async def script(talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if b"/slow" in request.start:
                arrived.release()
                await release.wait()
            await talk.send(OK)

    async with redis_server() as redis, upstream(script) as up:
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--workers", "2")
        async with gateway(*arguments) as (process, public, _), asyncio.TaskGroup() as group:
            slow = [group.create_task(ask(public, get("/slow"))) for _ in range(10)]
            async with Client.connect(public) as kept:
                assert (await kept.ask(get())).all(b"connection") == []
                for _ in slow:
                    await arrived.acquire()
                process.signal(signal.SIGTERM)
                assert (await kept.closed()) == b""
            release.set()
            async with asyncio.timeout(DEADLINE):
                answers = [await task for task in slow]
            assert {(answer.status, answer.body) for answer in answers} == {(200, b"ok")}
            assert await process.ends() == 0
            assert "Traceback" not in process.output


async def test_sigterm_under_load_with_keep_alive_clients_fails_no_request() -> None:
    """A client that is told to close does; one that is not may ask again, and is answered."""
    served = 0
    enough = asyncio.Event()

    async def client(port: int) -> None:
        nonlocal served
        async with Client.connect(port) as connection:
            while True:
                answer = await connection.ask(get())
                assert answer.status == 200
                served += 1
                if served == 500:
                    enough.set()
                if answer.all(b"connection"):
                    return

    async with upstream() as up, gateway("--upstream", f"http://127.0.0.1:{up.port}") as (process, public, _):
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(client(public))
            async with asyncio.timeout(DEADLINE):
                await enough.wait()
            process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    assert served == len(up.requests)


@pytest.mark.untraced
async def test_sigterm_right_after_the_greeting_is_not_lost() -> None:
    async with redis_server() as redis, upstream() as up:
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--workers", "2")
        for _ in range(3):
            async with gateway(*arguments) as (process, _public, _):
                process.signal(signal.SIGTERM)
                assert await process.ends() == 0
                assert "Traceback" not in process.output


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
async def test_a_reload_or_a_restart_asked_for_while_it_starts_does_not_end_it(number: int, tmp_path: Path) -> None:
    """It reads its settings when the signal comes; what it is told it does once it serves."""
    settings = tmp_path / "gateway.yaml"
    os.mkfifo(settings)
    async with upstream() as up:
        command = cli("serve", "--config", settings, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0")
        async with Process.start(*command, "--upstream", f"http://127.0.0.1:{up.port}") as process:
            with await asyncio.to_thread(settings.open, "w") as told:  # which waits for somebody to read
                process.signal(number)
                told.write("drain_time: 1s\n")
            await process.says("rules_reloaded" if number == signal.SIGHUP else "dry run with")
            await process.says("worker_serving")


async def test_workers_do_not_outlive_their_supervisor() -> None:
    async with redis_server() as redis, upstream() as up:
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--workers", "2")
        async with gateway(*arguments) as (process, _public, _):
            await process.says(r"(?s)worker_serving.*worker_serving")
            process.signal(signal.SIGKILL)
            await process.ends()  # the output ends when the last of them has closed it
            assert process.output.count("worker_draining") == 2


async def test_new_clients_are_served_or_refused_while_it_stops_and_never_left_waiting() -> None:
    """A connection that waits in the kernel when the last socket is closed would be reset."""
    asked, go = asyncio.Event(), asyncio.Event()
    served = 0

    async def script(talk: Conversation) -> None:
        while True:
            if b"/slow" in (await talk.request()).start:
                asked.set()
                await go.wait()
            await talk.send(OK)

    async def come_anew(port: int) -> None:
        nonlocal served
        while True:
            try:
                answer = await ask(port, get())
            except ConnectionRefusedError:
                return
            assert answer.status == 200
            served += 1

    async with redis_server() as redis, upstream(script) as up:
        arguments = ("--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--workers", "2")
        async with gateway(*arguments) as (process, public, _), Client.connect(public) as slow:
            await process.says(r"(?s)worker_serving.*worker_serving")
            await slow.send(get("/slow"))
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
                await asked.wait()
                for _ in range(16):
                    group.create_task(come_anew(public))
                await until(lambda: served >= 500)
                process.signal(signal.SIGTERM)
            go.set()
            assert (await slow.answer()).status == 200
            assert await process.ends() == 0
