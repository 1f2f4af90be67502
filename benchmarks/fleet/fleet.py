"""`Fleet`: two gateways of two workers each on one Redis, before two upstreams, all in processes of their own."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.soak.watch import is_alive
from gateway.auth.grant import Scope
from gateway.auth.signing import SigningKey, issue, make_key, read_key
from tests.kit.process import Process
from tests.redis.fault_proxy import FaultProxy, fault_proxy
from tests.redis_server import RedisServer, redis_server
from tests.reserved_port import ReservedPort
from tests.waiting import DEADLINE, until
from tests.wire import ask, get

WORKERS = 2
"""Of each gateway."""

RATE, BURST = 10, 20
"""Of the limit that applies to each user, in tokens a second and tokens."""

HEAD_TIMEOUT = IDLE_TIMEOUT = 1.0
"""Seconds that the gateway waits for the upstream that misbehaves; as long as usual where that is only slow."""

_TIMEOUT = 30.0
"""Seconds within which the fleet responds to anything."""

_SETTINGS = """\
listen: 127.0.0.1:{port}
control:
  listen: 127.0.0.1:{control}
  state: state
  admin: {{audience: gateway, issuer: fleet, keys: [{{algorithm: HS256, secret_file: ../admin.key}}]}}
upstreams:
  default: {{urls: [http://127.0.0.1:{orders}]}}
  slow: {{urls: [http://127.0.0.1:{shaky}]}}
  shaky: {{urls: [http://127.0.0.1:{shaky}], head_timeout: {head_timeout}s, idle_timeout: {idle_timeout}s}}
store: {{url: '{redis}'}}
identity:
  sources: [trusted_header: {{header: X-User-Id}}]
  trusted_proxies: [127.0.0.0/8]
  hash_key_file: ../hash
rules: rules.yaml
workers: {workers}
drain_time: 10s
access_log: true
"""
_RULES = """\
endpoints:
  - {{name: read, methods: [GET], path: "/v1/orders/{{id}}"}}
  - {{name: create, methods: [POST], path: /v1/orders}}
  - {{name: bytes, path: "/bytes/{{rest...}}", upstream: slow}}
  - {{name: slow, path: "/slow/{{rest...}}", upstream: slow}}
  - {{name: shaky, path: "/shaky/{{rest...}}", upstream: shaky}}
limits:
  - {{name: each, per: user, rate: {rate}/s, burst: {burst}}}
  - {{name: all, per: endpoint, rate: {all}/s}}
"""


class FaultError(Exception):
    """The fleet did not respond to a fault or a command as it should."""


class Upstream:
    """An upstream's process, which can be killed, stopped and started again.

    Attributes:
        port: Where it listens.
        journal: The file in which it notes the requests that it has carried out; see `origin`.
    """

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.port = port
        self.journal = folder / f"{name}.journal"
        self._stack = AsyncExitStack()
        self._process: Process | None = None

    async def start(self) -> None:
        command = (sys.executable, "-m", "benchmarks.fleet.origin", str(self.port), self.journal)
        self._process = await self._stack.enter_async_context(Process.start(*command))
        await self._process.says("ready")

    async def kill(self) -> None:
        await self._stack.aclose()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.signal(number)


class Gateway:
    """A gateway's processes, which can be ended and started again at the same ports.

    Attributes:
        name: Which one it is.
        port: Where clients connect.
        control: Its control port.
        folder: Its files.
        log: The file with its log.
        events: Those in the log, as of `read_log`, but for requests.
        lines: The requests in the log.
        redis: The wire to Redis, which is its own.
    """

    def __init__(
        self, name: str, folder: Path, port: int, control: int, redis: FaultProxy, orders: int, shaky: int
    ) -> None:
        self.name = name
        self.port, self.control = port, control
        self.folder = folder / name
        self.log = self.folder / "log"
        self.redis = redis
        self._stack = AsyncExitStack()
        self._process: Process | None = None
        self._read = 0
        self.events: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.folder.mkdir()
        self.log.touch()
        self.write_rules(100_000)
        settings = _SETTINGS.format(
            port=self.port, control=self.control, orders=orders, shaky=shaky, redis=redis.url, workers=WORKERS,
            head_timeout=HEAD_TIMEOUT, idle_timeout=IDLE_TIMEOUT,
        )  # fmt: skip
        (self.folder / "gateway.yaml").write_text(settings)

    def write_rules(self, of_all: int) -> None:
        text = _RULES.format(rate=RATE, burst=BURST, all=of_all)
        (self.folder / "rules.yaml").write_text(text)

    async def start(self) -> None:
        """Start it, and wait until all workers serve."""
        command = f"exec {sys.executable} -m gateway serve --config {self.folder}/gateway.yaml 2>>{self.log}"
        before = self.logged("worker_serving")
        self._process = await self._stack.enter_async_context(Process.start("sh", "-c", command))
        await until(lambda: self.logged("worker_serving") >= before + WORKERS or self._process.has_ended)
        assert not self._process.has_ended, self.log.read_text()[-2000:]

    async def stop(self) -> int:
        """Tell it to end, and wait for that. Returns its exit code."""
        self.signal(signal.SIGTERM)
        code = await self.process.ends()
        await self._stack.aclose()
        return code

    async def lose_supervisor(self) -> None:
        """Kill the supervisor alone, and wait until its workers have ended."""
        workers = self.workers
        os.kill(self.process.pid, signal.SIGKILL)
        await until(lambda: not any(map(is_alive, workers)))
        await self._stack.aclose()

    async def close(self) -> None:
        await self._stack.aclose()

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    @property
    def workers(self) -> list[int]:
        return self.process.children

    def signal(self, number: int) -> None:
        self.process.signal(number)

    def read_log(self) -> None:
        """Read the lines that have come since the last time."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._read += end
        for line in data[:end].splitlines():
            if line.startswith(b"{"):
                event = json.loads(line)
                (self.lines if event["event"] == "request" else self.events).append(event)

    def logged(self, name: str) -> int:
        """How often the log has an event, or a message of the supervisor's."""
        self.read_log()
        return sum(name in {event["event"], event.get("message")} for event in self.events)

    async def logs(self, name: str, before: int) -> None:
        """Wait until the log has an event more often than before.

        Raises:
            FaultError: it does not come.
        """
        end = time.monotonic() + _TIMEOUT
        while self.logged(name) <= before:
            if time.monotonic() > end:
                last = [event["event"] for event in self.events[-5:]]
                raise FaultError(f"gateway {self.name} did not log {name} within {_TIMEOUT:.0f} s; its last: {last}")
            await asyncio.sleep(0.02)

    async def degraded(self) -> float:
        """How many decisions its workers have made without Redis."""
        text = (await ask(self.control, get("/metrics"))).body.decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("gateway_limit_decisions_total{") and 'mode="degraded"' in line
        )


class Fleet:
    """What is tested.

    Attributes:
        folder: All files.
        redis: Which both gateways use, each over a wire of its own.
        gateways: Two.
        orders: The upstream whose clients must not notice anything.
        shaky: The upstream that misbehaves.
    """

    def __init__(
        self,
        folder: Path,
        redis: RedisServer,
        gateways: tuple[Gateway, Gateway],
        orders: Upstream,
        shaky: Upstream,
        admin: SigningKey,
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.gateways = gateways
        self.orders = orders
        self.shaky = shaky
        self._admin = admin

    def has_redis(self) -> bool:
        """Whether all workers decide with Redis."""
        for gateway in self.gateways:
            gateway.read_log()
            changes = [event for event in gateway.events if event["event"] in {"redis_unavailable", "redis_back"}]
            last = {event["pid"]: event["event"] for event in changes}
            if any(last.get(pid) == "redis_unavailable" for pid in gateway.workers):
                return False
        return True

    async def recovers(self) -> None:
        """Wait until all workers of both gateways serve, and decide with Redis."""

        async def is_whole() -> bool:
            if any(len(gateway.workers) != WORKERS for gateway in self.gateways):
                return False
            with suppress(OSError, EOFError):
                ready = [(await ask(gateway.control, get("/readyz"))).status == 200 for gateway in self.gateways]
                return all(ready) and self.has_redis()
            return False

        end = time.monotonic() + _TIMEOUT
        while not await is_whole():
            if time.monotonic() > end:
                raise FaultError(f"the fleet is not whole again after {_TIMEOUT:.0f} s")
            await asyncio.sleep(0.05)

    async def call(self, gateway: Gateway, method: str, path: str, scope: Scope, body: object = None) -> int:
        """Send a request to a control port, with a token for this scope. Returns the status."""
        token = issue(
            self._admin, subject="fleet", scopes=[scope], audience="gateway", issuer="fleet",
            now=int(time.time()), lifetime=60,
        )  # fmt: skip
        data = b"" if body is None else json.dumps(body).encode()
        headers = [f"Authorization: Bearer {token}", "Content-Type: application/json", f"Content-Length: {len(data)}"]
        return (await ask(gateway.control, get(path, *headers, method=method) + data)).status


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """Run it while the block runs."""
    with TemporaryDirectory(prefix="fleet-") as name:
        folder = Path(name)
        admin = read_key(make_key("HS256", folder / "admin").private)
        (folder / "hash").write_text("0123456789abcdef")
        async with AsyncExitStack() as stack:
            ports = iter([stack.enter_context(ReservedPort()).number for _ in range(6)])
            orders, shaky = (Upstream(folder, name, next(ports)) for name in ("orders", "shaky"))
            redis = await stack.enter_async_context(redis_server("--appendonly", "yes", "--appendfsync", "no"))
            wires = [await stack.enter_async_context(fault_proxy(redis.port)) for _ in range(2)]
            for upstream in (orders, shaky):
                stack.push_async_callback(upstream.kill)
            first, second = (
                Gateway(name, folder, next(ports), next(ports), wire, orders.port, shaky.port)
                for name, wire in zip("ab", wires, strict=True)
            )
            for gateway in (first, second):
                stack.push_async_callback(gateway.close)
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*(each.start() for each in (orders, shaky, first, second)))
            running = Fleet(folder, redis, (first, second), orders, shaky, admin)
            await running.recovers()
            yield running
