"""Faults of the gateway's own processes, and what operators do under load."""

import asyncio
import os
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.fleet.clients import HOT, OTHERS, TIMEOUT
from benchmarks.fleet.episode import Episode
from benchmarks.fleet.fleet import Gateway
from benchmarks.fleet.peer_faults import slow_readers
from gateway.auth.grant import Scope

_RESTARTED = "restart: done, all old workers have exited"
_SPARE_DESCRIPTORS = 4
_SPARE_MEMORY = 32 << 20


@contextmanager
def _limited(pids: list[int], what: int, most: int) -> Iterator[None]:
    """Lower a soft limit of processes while the block runs."""
    usual = {pid: resource.prlimit(pid, what) for pid in pids}
    for pid, (_, hard) in usual.items():
        resource.prlimit(pid, what, (most, hard))
    try:
        yield
    finally:
        for pid, limits in usual.items():
            resource.prlimit(pid, what, limits)


async def worker_killed(episode: Episode) -> None:
    gateway = episode.one_gateway()
    episode.kills_a_process_of(gateway)
    serving = gateway.logged("worker_serving")
    os.kill(episode.random.choice(gateway.workers), signal.SIGKILL)
    await gateway.logs("worker_serving", serving)
    await asyncio.sleep(episode.seconds / 2)


async def supervisor_killed(episode: Episode) -> None:
    """Its workers finish what they have, and end. A service manager starts it again."""
    gateway = episode.one_gateway()
    episode.refusing.add(gateway.name)
    await gateway.lose_supervisor()
    await asyncio.sleep(episode.seconds / 2)
    await gateway.start()


async def gateway_killed(episode: Episode) -> None:
    """All its processes at once, as in a power cut."""
    gateway = episode.one_gateway()
    episode.kills_a_process_of(gateway)
    episode.refusing.add(gateway.name)
    gateway.process.kill()
    await gateway.close()
    await asyncio.sleep(episode.seconds / 2)
    await gateway.start()


async def gateway_drained(episode: Episode) -> None:
    """SIGTERM under load, then started again."""
    gateway = episode.one_gateway()
    episode.refusing.add(gateway.name)
    code = await gateway.stop()
    episode.expect(code == 0, f"gateway {gateway.name} ended with {code}")
    await gateway.start()


async def rolling_restart(episode: Episode) -> None:
    gateway = episode.one_gateway()
    before, done = set(gateway.workers), gateway.logged(_RESTARTED)
    gateway.signal(signal.SIGUSR2)
    await gateway.logs(_RESTARTED, done)
    episode.expect(not before & set(gateway.workers), "a worker outlived the restart")


async def reloads(episode: Episode) -> None:
    """Rules that are valid and rules that are not, in both gateways."""
    for number in range(6):
        for gateway in episode.fleet.gateways:
            what = "rules_reloaded" if number % 2 == 0 else "reload_rejected"
            gateway.write_rules(100_001 + number if number % 2 == 0 else -1)
            before = gateway.logged(what)
            gateway.signal(signal.SIGHUP)
            await gateway.logs(what, before)
        await asyncio.sleep(episode.seconds / 6)
    for gateway in episode.fleet.gateways:
        gateway.write_rules(100_000)


async def worker_stopped(episode: Episode) -> None:
    """For a second, in which its clients wait."""
    gateway = episode.one_gateway()
    episode.cut_off = 1
    pid = episode.random.choice(gateway.workers)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(1.0)
    os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(episode.seconds / 2)


async def disk_full(episode: Episode) -> None:
    """For the log, the audit log and the overrides: no file of the gateway's can grow. Requests go on."""
    gateway = episode.one_gateway()
    episode.lines_lost.add(gateway.name)
    before = gateway.logged("log_lines_dropped")
    with _limited([gateway.process.pid, *gateway.workers], resource.RLIMIT_FSIZE, 0):
        await asyncio.sleep(episode.seconds / 2)
        status = await _block(episode, gateway, "mallory")
        episode.expect(status >= 500, f"an override that cannot be audited gets {status}")
        await asyncio.sleep(episode.seconds / 2)
    status = await _block(episode, gateway, "nobody")
    episode.expect(status == 201, f"with room on the disk again, an override gets {status}")
    await gateway.logs("log_lines_dropped", before)
    record = await episode.clients.ask(OTHERS, gateway, "GET", "/v1/orders/1", user="mallory")
    episode.expect(record.status == 200, f"what was not audited is in force: {record.status}")


async def _block(episode: Episode, gateway: Gateway, user: str) -> int:
    body = {"reason": "a test", "effect": "block", "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    path = f"/api/v1/admin/overrides/{user}"
    return await episode.fleet.call(gateway, "PUT", path, Scope.WRITE_LIMITS, body)


async def descriptors_exhausted(episode: Episode) -> None:
    """One worker can open hardly any file: what it has goes on, and what it cannot accept or connect to fails."""
    gateway = episode.one_gateway()
    episode.broken.add(gateway.name)
    episode.statuses[OTHERS] = episode.statuses[HOT] = {502}
    episode.cut_off = 1
    pid = episode.random.choice(gateway.workers)
    most = _highest_descriptor(pid) + 1 + _SPARE_DESCRIPTORS
    with _limited([pid], resource.RLIMIT_NOFILE, most):
        idle = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(4 * _SPARE_DESCRIPTORS)]
        await asyncio.sleep(episode.seconds)
        for _, writer in idle:
            writer.transport.abort()
    await asyncio.sleep(1.0)  # after which a worker accepts again


async def memory_limited(episode: Episode) -> None:
    """Workers that can hold little more than they do, with clients that read slowly."""
    gateway = episode.one_gateway()
    with ExitStack() as stack:
        for pid in gateway.workers:
            stack.enter_context(_limited([pid], resource.RLIMIT_DATA, _data_size(pid) + _SPARE_MEMORY))
        async with asyncio.timeout(TIMEOUT):
            await slow_readers(episode, gateway, number=20)


def _highest_descriptor(pid: int) -> int:
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


def _data_size(pid: int) -> int:
    """Bytes that RLIMIT_DATA counts."""
    found = re.search(r"VmData:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
