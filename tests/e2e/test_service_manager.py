"""systemd is notified (sd_notify) over a real socket; and the unit file that uses it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from uuid import uuid4

import pytest

from tests.kit.process import ROOT, Process, gateway, ports
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, until
from tests.wire import ask, get, upstream

UNIT = ROOT / "deploy/systemd/gateway.service"
RULES = "limits: [{name: everyone, per: user, rate: 600/minute}]\n"


class Manager:
    """A service manager: a datagram socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)

    async def receives(self) -> dict[str, str]:
        """The next message."""
        async with asyncio.timeout(DEADLINE):
            text = (await asyncio.get_running_loop().sock_recv(self.socket, 4096)).decode()
        return dict(line.split("=", 1) for line in text.split("\n"))

    def receives_nothing(self) -> bool:
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify") if request.param == "path" else f"@gateway-test-{uuid4().hex}")
    with found.socket:
        yield found


def rules(folder: Path) -> Path:
    path = folder / "rules.yaml"
    path.write_text(RULES)
    return path


async def test_start_reload_rejected_reload_and_stop_are_notified(manager: Manager, tmp_path: Path) -> None:
    path = rules(tmp_path)
    (tmp_path / "state").mkdir()
    settings = tmp_path / "gateway.yaml"
    settings.write_text("control: {state: state}\n")
    async with (
        redis_server() as redis,
        upstream() as up,
        gateway(
            "--config", settings, "--upstream", f"http://127.0.0.1:{up.port}", "--rules", path, "--store", redis.url,
            "--workers", "2", NOTIFY_SOCKET=manager.address,
        ) as (process, public, _),
    ):  # fmt: skip
        assert await manager.receives() == {"READY": "1", "STATUS": "2 workers serving"}
        assert len(process.children) == 2
        await until(lambda: len(re.findall("worker_serving", process.output)) == 2)
        assert (await ask(public, get())).status == 200
        for content, event in ((RULES.replace("600", "60"), "rules_reloaded"), ("limits: no\n", "reload_rejected")):
            path.write_text(content)
            before = time.monotonic_ns() // 1000
            process.signal(signal.SIGHUP)
            notified = await manager.receives()
            assert (notified["RELOADING"], before <= int(notified["MONOTONIC_USEC"])) == ("1", True)
            over = await manager.receives()
            assert (over["READY"], "rejected" in over["STATUS"]) == ("1", event == "reload_rejected")
            await process.says(event)
        process.signal(signal.SIGTERM)
        assert (await manager.receives())["STOPPING"] == "1"
        assert await process.ends() == 0
        assert manager.receives_nothing()


async def test_a_reload_whose_worker_dies_is_over(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        async with gateway("--upstream", "http://127.0.0.1:9", NOTIFY_SOCKET=manager.address) as (process, _, _):
            assert (await manager.receives())["READY"] == "1"
            (worker,) = process.children
            os.kill(worker, signal.SIGSTOP)
            process.signal(signal.SIGHUP)
            assert (await manager.receives())["RELOADING"] == "1"
            os.kill(worker, signal.SIGKILL)
            assert (await manager.receives())["READY"] == "1"


async def test_a_rolling_restart_is_ready_when_all_workers_are_new(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        async with gateway("--upstream", "http://127.0.0.1:9", NOTIFY_SOCKET=manager.address) as (process, _, _):
            assert (await manager.receives())["READY"] == "1"
            (old,) = process.children
            process.signal(signal.SIGUSR2)
            assert (await manager.receives())["READY"] == "1"
            await until(lambda: len(process.children) == 1)
            assert process.children != [old]
            process.signal(signal.SIGTERM)
            assert (await manager.receives())["STOPPING"] == "1"


async def test_a_manager_that_is_missing_is_logged_and_changes_nothing(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    async with gateway("--upstream", "http://127.0.0.1:9", NOTIFY_SOCKET=gone) as (process, public, _):
        await process.says(
            "the service manager at NOTIFY_SOCKET cannot be notified of READY=1: No such file or directory"
        )
        assert (await ask(public, get())).status == 502
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0


def test_the_unit_matches_what_the_gateway_does() -> None:
    unit = ConfigParser(strict=False)  # SystemCallFilter and ExecReload stand there twice
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text().replace("%", "%%"))
    service = unit["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    checks, signals = re.findall("^ExecReload=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert signals.endswith("-HUP $MAINPID")
    assert checks == service["ExecStart"].replace(" serve ", " check "), "mistakes in the files fail the reload"
    drain_delay, drain_time, to_exit = 30, 30, 10
    assert int(service["TimeoutStopSec"]) > drain_delay + drain_time + to_exit


@pytest.mark.needs("systemd-analyze")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    command = tmp_path / "gateway"
    command.touch(mode=0o755)
    unit = tmp_path / "gateway.service"
    unit.write_text(UNIT.read_text().replace("/opt/gateway/bin/gateway", str(command)).replace("User=gateway\n", ""))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert "gateway.service" not in done.stderr


@pytest.mark.needs("systemd-analyze")
def test_the_unit_leaves_little_to_attack(tmp_path: Path) -> None:
    """On a scale to 10; without any restriction it is 9.2."""
    unit = tmp_path / "gateway.service"
    unit.write_text(UNIT.read_text())
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=29", "--no-pager", str(unit)]  # 2.9
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1:] + done.stderr.splitlines()


async def test_the_gateway_needs_no_memory_that_is_writable_and_executable() -> None:
    """As with the unit's MemoryDenyWriteExecute: PR_SET_MDWE, where the kernel has it (6.3)."""
    code = (
        "import ctypes, os, sys\n"
        "ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    serve = ("-m", "gateway", "serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0")
    async with (
        redis_server() as redis,
        upstream() as up,
        Process.start(
            sys.executable, "-c", code, *serve,
            "--upstream", f"http://localhost:{up.port}", "--store", redis.url, "--workers", "2",
        ) as process,
    ):  # fmt: skip
        public, _ = await ports(process)
        assert (await ask(public, get())).status == 200
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
