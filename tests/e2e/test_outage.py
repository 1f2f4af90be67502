"""Redis is unavailable to a fleet of two gateways with two workers each: what callers notice."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import Client, ask, get, upstream

pytestmark = pytest.mark.usefixtures("redis_and_valkey")

RULES = "limits: [{{name: each, per: user, rate: 1/hour, burst: 40{more}}}]\n"
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


async def fleet_is(size: int, controls: Sequence[int]) -> bool:
    texts = [(await ask(control, get("/metrics"))).body.decode() for control in controls]
    return all(f'gateway_fleet_size{{worker="{worker}"}} {size}.0' in text for text in texts for worker in (0, 1))


@pytest.mark.parametrize(("more", "allowed"), [("", 40), (", when_redis_is_down: local", 10)], ids=["default", "local"])
async def test_a_caller_on_one_connection_has_the_whole_limit_unless_the_limit_says_local(
    more: str, allowed: int, tmp_path: Path
) -> None:
    """What was spent without Redis counts when it is back."""
    (tmp_path / "rules.yaml").write_text(RULES.format(more=more))
    async with redis_server(*KEPT) as redis, upstream() as up, AsyncExitStack() as stack:
        (tmp_path / "gateway.yaml").write_text(
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\n"
            f"store: {{url: '{redis.url}', deadline: 5s}}\nworkers: 2\nrules: rules.yaml\n"
        )
        ports = []
        for _ in range(2):
            process, public, control = await stack.enter_async_context(gateway("--config", tmp_path / "gateway.yaml"))
            await process.says(r"(?s)worker_serving.*worker_serving")
            ports.append((process, public, control))
        await eventually(partial(fleet_is, 4, [control for _, _, control in ports]))
        redis.kill()
        client = await stack.enter_async_context(Client.connect(ports[0][1]))
        statuses = [(await client.ask(get())).status for _ in range(50)]
        assert statuses == [200] * allowed + [429] * (50 - allowed)
        await redis.start()
        await ports[0][0].says("redis_back")
        others = [(await ask(ports[1][1], get())).status for _ in range(41 - allowed)]
        assert others == [200] * (40 - allowed) + [429]
