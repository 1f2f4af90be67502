"""Faults of the processes themselves: one that is stopped, one without descriptors, and what all of them say."""

import asyncio
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from redis.asyncio import Redis

from tests.auth.keys import claims, pair, signed, token
from tests.control.fleet import fleet_member
from tests.kit.process import Process, gateway
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, Lag, Wait, eventually, lag, until
from tests.wire import OK, Client, Conversation, ask, get, upstream

RULES = """
limits:
  - {name: each, per: user, rate: 1000/s, burst: 1000000}
"""


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_worker_that_is_stopped_for_a_second_takes_no_other_along_and_does_not_lose_redis(
    tmp_path: Path,
) -> None:
    """The deadline is shorter than the fault, and longer than what a busy machine takes of itself."""
    (tmp_path / "rules.yaml").write_text(RULES)
    stop = asyncio.Event()
    waits: list[list[float]] = []

    async def client(port: int, held_up: Lag, other: Wait) -> None:
        slowest: list[float] = []
        waits.append(slowest)
        async with Client.connect(port) as connection:
            while not stop.is_set():
                own, queued = Wait(), other.queued
                assert (await connection.ask(get())).status == 200
                slowest.append(own.elapsed - own.held_up(held_up) - (other.queued - queued))

    async with redis_server() as redis, upstream() as up:
        (tmp_path / "gateway.yaml").write_text(
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\n"
            f"store: {{url: '{redis.url}', deadline: 1500ms}}\nworkers: 2\nrules: rules.yaml\n"
        )
        async with gateway("--config", tmp_path / "gateway.yaml") as (process, public, control):
            await process.says(r"(?s)worker_serving.*worker_serving")
            worker, other = process.children
            async with lag() as held_up, asyncio.TaskGroup() as group:
                for _ in range(16):
                    group.create_task(client(public, held_up, Wait(other)))
                await until(lambda: len(up.requests) >= 500)
                os.kill(worker, signal.SIGSTOP)
                await asyncio.sleep(2.0)  # the fault
                os.kill(worker, signal.SIGCONT)
                await asyncio.sleep(1.0)  # in which a storm would show
                stop.set()
            metrics = (await ask(control, get("/metrics"))).body.decode()
    assert "redis_unavailable" not in process.output
    assert any(max(each) < 0.5 for each in waits), "clients of the other worker noticed nothing"
    counted = re.findall(r'gateway_limit_decisions_total{.*mode="(\w+)".*} (\S+)', metrics)
    of_our_own = sum(float(number) for mode, number in counted if mode == "degraded")
    assert of_our_own <= max(16, len(up.requests) / 100), "no more than were under way"


async def test_without_descriptors_it_refuses_and_recovers_and_does_not_spin() -> None:
    async with upstream() as up, gateway("--upstream", f"http://127.0.0.1:{up.port}") as (process, public, _):
        served = [*process.children, process.pid][0]
        resource.prlimit(served, resource.RLIMIT_NOFILE, (128, 128))
        async with asyncio.timeout(DEADLINE):
            tried = [asyncio.open_connection("127.0.0.1", public) for _ in range(300)]
            streams = [each for each in await asyncio.gather(*tried, return_exceptions=True) if isinstance(each, tuple)]
        for _, writer in streams:
            with suppress(ConnectionError):
                writer.write(get())
        used = cpu(served)
        await asyncio.sleep(1.0)  # in which it would spin
        assert cpu(served) - used < 0.5
        for _, writer in streams:
            writer.transport.abort()
        async with asyncio.timeout(DEADLINE):
            while True:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    if (await ask(public, get())).status == 200:
                        break
                await asyncio.sleep(0.05)
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0


async def test_a_gateway_ends_by_itself_though_collector_database_log_and_a_client_all_hang(
    tmp_path: Path, reserve: Callable[[], int]
) -> None:
    """It waits for one after the other, and the supervisor for all of them."""
    port, control = reserve(), reserve()
    asked, spans, rows = asyncio.Event(), asyncio.Event(), asyncio.Event()
    read, write = os.pipe()

    async def answer_once(talk: Conversation) -> None:
        while b"/slow" not in (await talk.request()).start:
            await talk.send(OK)
        asked.set()
        await asyncio.sleep(DEADLINE)

    async def take_no_spans(talk: Conversation) -> None:
        await talk.request()
        spans.set()
        await asyncio.sleep(DEADLINE)

    async def take_no_rows(talk: Conversation) -> None:
        await talk.reader.read(1)
        rows.set()
        await asyncio.sleep(DEADLINE)

    async with upstream(answer_once) as up, upstream(take_no_spans) as collector, upstream(take_no_rows) as database:
        (tmp_path / "gateway.yaml").write_text(
            f"listen: 127.0.0.1:{port}\ncontrol: {{listen: 127.0.0.1:{control}, check_from: [127.0.0.0/8]}}\n"
            f"upstreams: {{default: {{urls: [http://127.0.0.1:{up.port}]}}}}\ndrain_time: 1s\nrules: rules.yaml\n"
            f"tracing: {{endpoint: http://127.0.0.1:{collector.port}/v1/traces, sample: 1}}\n"
            f"analytics: {{postgres: {{url: postgresql://g@127.0.0.1:{database.port}/g, tls: false}}, interval: 1s}}\n"
        )
        (tmp_path / "rules.yaml").write_text(RULES)
        command = f"exec {sys.executable} -m gateway serve --config {tmp_path}/gateway.yaml"
        async with Process.start("sh", "-c", f"{command} 2>/proc/{os.getpid()}/fd/{write}") as process:

            async def serves() -> bool:
                with suppress(ConnectionError):
                    return (await ask(control, get("/readyz"))).status == 200
                return False

            await eventually(serves)
            async with Client.connect(port) as client, Client.connect(control) as slow:
                assert (await client.ask(get())).status == 200
                await client.send(get("/slow"))
                async with asyncio.timeout(DEADLINE):
                    for each in (asked, spans, rows):
                        await each.wait()
                fields = ("Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
                await slow.send(get("/api/v1/check-limit", *fields, method="POST"))
                assert (await slow.reader.readline()).startswith(b"HTTP/1.1 100")
                os.set_blocking(write, False)
                with suppress(BlockingIOError):
                    while os.write(write, bytes(4096)):
                        pass
                os.set_blocking(write, True)
                process.signal(signal.SIGTERM)
                assert await process.ends() == 0
    os.close(read)
    os.close(write)


async def test_no_secret_is_in_a_log_a_metric_a_response_or_the_audit_log(tmp_path: Path) -> None:
    password, other = "correct-horse-battery", "staple-battery-horse"
    async with redis_server("--requirepass", password) as redis, upstream() as up:
        store = redis.url.replace("redis://", f"redis://:{password}@")
        async with fleet_member(tmp_path, up.port, store) as running:
            good, forged = token("limits:write"), signed(claims(), {"alg": "HS256"}, pair("HS256", 1).signing)
            said = []
            for each in (good, forged, good[:-2], "a.b.c"):
                answer = await running.call("GET", "/api/v1/admin/overrides", token=each)
                said.append(repr(answer))
                said.append(repr(await ask(running.public, get("/v1/orders/7", f"Authorization: Bearer {each}"))))
            async with Redis(port=redis.port, password=password) as client:
                await client.config_set("requirepass", other)
                await client.client_kill_filter(_type="normal", skipme=True)
            await running.process.says("redis_unavailable")
            said.append(repr(await ask(running.public, get("/v1/orders/7"))))
            said.append((await ask(running.control, get("/metrics"))).body.decode())
            said.append((await ask(running.control, get("/readyz"))).body.decode())
            running.process.signal(signal.SIGTERM)
            await running.process.ends()
        told = "\n".join(
            [
                *said,
                running.process.output,
                *(file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file()),
            ]
        )
    secret = (tmp_path / "secret").read_text()
    for hidden in (password, other, secret, "0123456789abcdef", good, forged, good.rpartition(".")[2]):
        assert hidden not in told
