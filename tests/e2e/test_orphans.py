"""As process 1, or as a subreaper, the supervisor lets no orphan stay a zombie."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.process import Process, cli, ports
from tests.waiting import until
from tests.wire import ask, get

SUBREAPER = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execvp(sys.argv[1], sys.argv[1:])"
ORPHANS = '(sleep 600 & sleep 600 & true); exec "$@"'
SERVE = ("serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9")


def in_a_pid_namespace() -> list[str]:
    """What runs a command as process 1: for root, or for whoever may be root in a user namespace."""
    for more in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *more, "--pid", "--fork", "--kill-child"]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("this process may not make a PID namespace: only root, or whoever may make user namespaces")


@pytest.mark.parametrize(
    "as_process_1", [False, pytest.param(True, marks=pytest.mark.needs("unshare"))], ids=["subreaper", "process 1"]
)
async def test_an_orphan_that_ends_is_reaped_and_workers_are_still_replaced(*, as_process_1: bool) -> None:
    place = in_a_pid_namespace() if as_process_1 else [sys.executable, "-c", SUBREAPER]
    async with Process.start(*place, "sh", "-c", ORPHANS, "sh", *cli(*SERVE)) as process:
        _, control = await ports(process)
        await process.says("worker_serving")
        supervisor = process.children[0] if as_process_1 else process.pid
        orphans = [pid for pid in children(supervisor) if name_of(pid) == "sleep"]
        assert len(orphans) == 2
        os.kill(orphans[0], signal.SIGKILL)
        await until(lambda: orphans[0] not in children(supervisor))
        (worker,) = [pid for pid in children(supervisor) if pid not in orphans]
        os.kill(worker, signal.SIGKILL)
        os.kill(orphans[1], signal.SIGKILL)
        await process.says("ended with SIGKILL")
        await until(lambda: len(re.findall("worker_serving", process.output)) == 2)
        await until(lambda: len(children(supervisor)) == 1)
        assert (await ask(control, get("/readyz"))).status == 200
        os.kill(supervisor, signal.SIGTERM)
        assert await process.ends() == 0


def children(pid: int) -> list[int]:
    """Zombies included."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
