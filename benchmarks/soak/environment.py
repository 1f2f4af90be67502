"""`Environment`: a Redis, an upstream and a gateway of two workers, each a process of its own."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from benchmarks.soak.clients import EXEMPT
from gateway.auth.grant import Scope
from gateway.auth.signing import SigningKey, issue, make_key, read_key
from tests.kit.process import Process, cli, ports
from tests.redis_server import RedisServer, redis_server
from tests.reserved_port import ReservedPort
from tests.waiting import DEADLINE
from tests.wire import Client, ask, get

WORKERS = 2

_SETTINGS = """\
listen: 127.0.0.1:0
control:
  listen: 127.0.0.1:0
  state: state
  admin: {{audience: gateway, issuer: soak, keys: [{{algorithm: HS256, secret_file: admin.key}}]}}
upstreams: {{default: {{urls: [http://127.0.0.1:{upstream}]}}}}
store: {{url: '{redis}'}}
identity:
  sources: [{{trusted_header: {{header: X-User-Id}}}}]
  trusted_proxies: [127.0.0.1]
  hash_key_file: hash
rules: rules.yaml
workers: {workers}
drain_time: 5s
access_log: 0.01
"""
_RULES = """\
endpoints:
  - {{name: read-order, methods: [GET], path: "/v1/orders/{{id}}", cost: {{per: 64, at_most: 8}}}}
  - {{name: create-order, methods: [POST], path: /v1/orders, cost: 2}}
limits:
  - {{name: everyone, per: user, rate: 100/s, burst: {burst}, exempt: {{users: [{exempt}]}}}}
  - {{name: create-each, per: [user, endpoint], endpoints: [create-order], rate: 10/minute, burst: 4}}
  - {{name: reads-at-once, per: endpoint, endpoints: [read-order], at_once: 24}}
  - {{name: create-shadow, per: endpoint, endpoints: [create-order], rate: 1/s, enforce: false}}
"""
Series = dict[tuple[str, ...], float]


@dataclass
class Environment:
    """What is tested."""

    folder: Path
    redis: RedisServer
    gateway: Process
    admin: SigningKey
    public: int
    control: int

    def write_rules(self, burst: int) -> None:
        (self.folder / "rules.yaml").write_text(_RULES.format(burst=burst, exempt=EXEMPT))

    async def call(self, method: str, path: str, scope: Scope, body: object = None) -> int:
        """Send a request to the control port, with a token for this scope. Returns the status."""
        token = issue(
            self.admin, subject="soak", scopes=[scope], audience="gateway", issuer="soak",
            now=int(time.time()), lifetime=60,
        )  # fmt: skip
        data = b"" if body is None else json.dumps(body).encode()
        headers = [f"Authorization: Bearer {token}", "Content-Type: application/json", f"Content-Length: {len(data)}"]
        return (await ask(self.control, get(path, *headers, method=method) + data)).status

    async def counts(self, name: str, *labels: str) -> Series:
        """The sums of a counter by some of its labels."""
        text = (await ask(self.control, get("/metrics"))).body.decode()
        found: Series = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    key = tuple(sample.labels[label] for label in labels)
                    found[key] = found.get(key, 0.0) + sample.value
        return found

    async def at_once(self) -> dict[str, int]:
        """The requests in flight that Redis counts, by their workers."""
        async with Redis(port=self.redis.port) as counts:
            found = [await counts.hgetall(key) for key in await counts.keys("*:reads-at-once*")]
        return {str(worker): int(number) for each in found for worker, number in each.items()}


@asynccontextmanager
async def environment() -> AsyncIterator[Environment]:
    """Run it while the block runs."""
    with TemporaryDirectory(prefix="soak-") as name, ReservedPort() as port:
        folder, upstream = Path(name), port.number
        async with (
            redis_server() as redis,
            Process.start(sys.executable, "-m", "benchmarks.kit.origin", str(upstream)),
        ):
            await _wait_until_listening(upstream)
            admin = read_key(make_key("HS256", folder / "admin").private)
            (folder / "hash").write_text("0123456789abcdef")
            settings = _SETTINGS.format(upstream=upstream, redis=redis.url, workers=WORKERS)
            (folder / "gateway.yaml").write_text(settings)
            (folder / "rules.yaml").write_text(_RULES.format(burst=1000, exempt=EXEMPT))
            async with Process.start(*cli("serve", "--config", folder / "gateway.yaml")) as gateway:
                running = Environment(folder, redis, gateway, admin, *await ports(gateway))
                await gateway.says("(?s)worker_serving.*worker_serving")
                yield running


async def _wait_until_listening(port: int) -> None:
    """Connect until that succeeds: the upstream prints nothing that could be waited for."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                async with Client.connect(port):
                    return
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
