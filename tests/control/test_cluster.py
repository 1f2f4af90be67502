"""The control plane of two gateways on a Redis Cluster."""

from dataclasses import replace
from pathlib import Path

from gateway.limits.rules import Rules
from gateway.settings.gateway import Settings
from gateway.settings.store import Store
from gateway.settings.url import RedisUrl
from tests.auth.keys import token
from tests.control.overrides.test_api import override, put
from tests.control.overrides.test_plan_api import apply, row
from tests.control.running import ENDPOINTS, limit, settings, worker
from tests.redis.clusters import redis_cluster
from tests.waiting import PATIENT, eventually


async def test_overrides_and_reloads_reach_the_other_gateway_in_a_cluster(tmp_path: Path) -> None:
    rules = Rules(ENDPOINTS, (limit("each", 5),), revision="cafe00000001")
    async with redis_cluster() as nodes:
        store = Store(RedisUrl.parse(f"redis://127.0.0.1:{nodes[0].port}"), cluster=True, deadline=PATIENT)

        def member(name: str) -> Settings:
            return replace(settings(control={"state": tmp_path / name}), store=store)

        async with worker(member("a"), rules) as first, worker(member("b"), rules) as second:
            assert await put(first, "alice", override("block")) == 201

            async def is_blocked() -> bool:
                return not (await second.check("alice", "order"))["allowed"]

            await eventually(is_blocked)
            plan = [row("alice", "exempt"), row("bob", "block")]
            assert (await apply(first, plan)).status == 200

            async def is_applied() -> bool:
                allowed = [(await second.check(user, "order"))["allowed"] for user in ("alice", "bob")]
                return allowed == [True, False]

            await eventually(is_applied)

            async def knows_the_other() -> bool:
                answer = await first.call("POST", "/api/v1/admin/reload?fleet=true&dry_run=true", token=token("reload"))
                return [each and each["status"] for each in answer.body["gateways"].values()] == [200]

            await eventually(knows_the_other)
