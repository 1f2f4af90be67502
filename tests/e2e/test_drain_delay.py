"""`drain_delay`: a load balancer that does not know yet that the gateway stops loses nothing."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.test_service_manager import Manager
from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, until
from tests.wire import ask, get, upstream


def settings(folder: Path, drain_delay: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(f"drain_delay: {drain_delay}\ndrain_time: 2s\n")
    return path


@pytest.mark.parametrize("workers", [1, 2])
async def test_new_connections_are_served_for_that_long_while_readiness_says_no(workers: int, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    served = 0

    async def come_anew(port: int) -> None:
        nonlocal served
        while not stopped.is_set():
            assert (await ask(port, get())).status == 200
            served += 1

    with manager.socket:
        async with (
            redis_server() as redis,
            upstream() as up,
            gateway(
                "--upstream", f"http://127.0.0.1:{up.port}", "--store", redis.url, "--workers", str(workers),
                "--config", settings(tmp_path, "2s"), NOTIFY_SOCKET=manager.address,
            ) as (process, public, control),
        ):  # fmt: skip
            assert (await manager.receives())["READY"] == "1"
            stopped = asyncio.Event()
            async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
                for _ in range(4):
                    group.create_task(come_anew(public))
                await until(lambda: served >= 20)
                began = asyncio.get_running_loop().time()
                process.signal(signal.SIGTERM)
                assert (await manager.receives())["STOPPING"] == "1"
                await until(lambda: process.output.count("worker_stopping") == workers)
                before = served
                ready = await ask(control, get("/readyz"))
                assert (ready.status, ready.body) == (503, b'{"status": "draining"}')
                assert (await ask(control, get("/healthz"))).status == 200
                await asyncio.sleep(began + 1.5 - asyncio.get_running_loop().time())  # the load of most of the delay
                stopped.set()
            assert served > before
            assert "worker_draining" not in process.output
            assert await process.ends() == 0
            assert asyncio.get_running_loop().time() - began >= 2.0
            assert process.output.count("worker_draining") == workers


async def test_a_second_signal_ends_the_delay(tmp_path: Path) -> None:
    async with gateway("--upstream", "http://127.0.0.1:9", "--config", settings(tmp_path, "1h")) as (process, _, _):
        await process.says("worker_serving")
        process.signal(signal.SIGTERM)
        await process.says("worker_stopping")
        process.signal(signal.SIGTERM)
        assert await process.ends() == 1
        assert "was told to exit twice, killing it" in process.output


async def test_a_rolling_restart_does_not_wait(tmp_path: Path) -> None:
    flags = ("--upstream", "http://127.0.0.1:9", "--config", settings(tmp_path, "1h"))
    async with gateway(*flags) as (process, public, _):
        await process.says("worker_serving")
        process.signal(signal.SIGUSR2)
        await process.says("restart: done")
        assert "worker_stopping" not in process.output
        assert (await ask(public, get())).status == 502


async def test_a_worker_whose_supervisor_was_killed_does_not_wait(tmp_path: Path) -> None:
    """A new gateway could not listen on its ports."""
    async with gateway("--upstream", "http://127.0.0.1:9", "--config", settings(tmp_path, "1h")) as (process, _, _):
        await process.says("worker_serving")
        os.kill(process.pid, signal.SIGKILL)
        await process.ends()
        assert "worker_draining" in process.output
        assert "worker_stopping" not in process.output
