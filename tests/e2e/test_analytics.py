"""Analytics seen from outside: what the gateway let through and refused is what `gateway report` says."""

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit.process import Process, cli, gateway
from tests.postgres_server import PASSWORD, PostgresServer, postgres_server
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, at_most
from tests.wire import Client, ask, get, upstream

RULES = """
endpoints:
  - {name: orders, path: /orders}
limits:
  - {name: each, per: user, rate: 1/day, burst: 5, tiers: {gold: {rate: 1/day, burst: 8}}}
  - {name: trial, per: [user, endpoint], endpoints: [orders], rate: 1/day, burst: 2, enforce: false}
"""
KEYS = {"HASH_KEY": "0123456789abcdef", "DATABASE_PASSWORD": PASSWORD}
POSTGRES = "postgres: {{url: '{}', password_env: DATABASE_PASSWORD, tls: false}}"


def settings(folder: Path, port: int, analytics: str, *more: str) -> Path:
    (folder / "rules.yaml").write_text(RULES)
    file = folder / "gateway.yaml"
    lines = [
        f"upstreams: {{default: {{urls: ['http://127.0.0.1:{port}']}}}}",
        "rules: rules.yaml",
        "identity:",
        "  hash_key_env: HASH_KEY",
        "  trusted_proxies: [127.0.0.1]",
        "  sources: [{trusted_header: {header: X-User-Id, tier_header: X-User-Tier}}]",
        f"analytics: {{{analytics}}}",
        *more,
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


async def traffic(port: int, users: Sequence[str], times: int) -> Counter[int]:
    """So many requests of each user, each user on a connection; a user called gold-... is on that tier."""

    async def one(user: str) -> list[int]:
        fields = [f"X-User-Id: {user}", *(["X-User-Tier: gold"] if user.startswith("gold") else [])]
        async with Client.connect(port) as client:
            return [(await client.ask(get("/orders", *fields))).status for _ in range(times)]

    statuses = await asyncio.gather(*(one(user) for user in users))
    return Counter(status for each in statuses for status in each)


async def report(config: Path, *arguments: str) -> Any:
    async with Process.start(*cli("report", "--config", config, "--json", *arguments), env=KEYS) as process:
        assert await process.ends() == 0, process.output
        return json.loads(process.output)


async def until_written(control: int, requests: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            metrics = (await ask(control, get("/metrics"))).body.decode()
            if f'gateway_analytics_requests_total{{outcome="written"}} {requests:.1f}\n' in metrics:
                return


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def test_workers_that_share_a_folder_add_up_to_what_clients_were_answered(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        config = settings(
            tmp_path, up.port, "folder: counted, interval: 50ms", f"store: {{url: '{redis.url}', deadline: 5s}}"
        )
        async with gateway("--config", config, "--workers", "2", **KEYS) as (process, public, _):
            await process.says(r"(?s)worker_serving.*worker_serving")
            answers = await traffic(public, [f"user-{number}" for number in range(20)] + ["gold-1"], 10)
            assert answers == {200: 20 * 5 + 8, 429: 20 * 5 + 2}
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert "Traceback" not in process.output
    told = await report(config)
    assert told["requests"] == {"allowed": 108, "refused": 102, "unavailable": 0}
    said = {(each["limit"], each["tier"]): each for each in told["limits"]}
    assert said["each", None]["endpoint"] == "orders"
    assert (said["each", None]["allowed"], said["each", None]["refused"]) == (100, 100)
    assert (said["each", "gold"]["allowed"], said["each", "gold"]["refused"]) == (8, 2)
    assert said["trial", None]["refused"] == said["trial", "gold"]["refused"] == 0
    assert said["trial", None]["shadow_refused"] + said["trial", "gold"]["shadow_refused"] == 20 * 8 + 8
    of_all = await report(config, "--top", "100")
    assert Counter(each["refused_at_least"] for each in of_all["callers"]) == {5: 20, 2: 1}
    (gold,) = (await report(config, "--user", "gold-1"))["callers"]
    assert (gold["refused_at_least"], gold["limit"]) == (2, "each")
    (orders,) = of_all["endpoints"]
    assert (orders["allowed"], orders["refused"], orders["refused_by"]) == (108, 102, {"each": 102})
    eaten = await report(config, "--endpoint", "orders", "--top", "100")
    assert Counter(each["cost_at_least"] for each in eaten["spenders"] if each["limit"] == "each") == {5: 20, 8: 1}
    counted = "".join(path.read_text() for path in (tmp_path / "counted").iterdir())
    assert gold["caller"] in counted
    assert not re.search("user-|gold-1|127.0.0.1", counted)


async def test_what_is_counted_of_the_minute_under_way_is_written_at_sigterm(tmp_path: Path) -> None:
    async with upstream() as up:
        config = settings(tmp_path, up.port, "folder: counted")
        async with gateway("--config", config, **KEYS) as (process, public, _):
            assert await traffic(public, ["ana"], 7) == {200: 5, 429: 2}
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
    async with Process.start(*cli("report", "--config", config), env=KEYS) as process:
        assert await process.ends() == 0
        assert "7 requests decided, 2 refused (28.6%)" in process.output
        assert re.search(r"each +orders +- +5 +2 +0 +0 +0 +28.6%", process.output)


async def test_a_killed_worker_loses_what_it_had_not_written_and_nothing_else(tmp_path: Path) -> None:
    async with upstream() as up:
        config = settings(tmp_path, up.port, "folder: counted, interval: 50ms")
        async with gateway("--config", config, **KEYS) as (process, public, control):
            await traffic(public, ["ana"], 7)
            await until_written(control, 7)
            process.signal(signal.SIGKILL)
            await process.ends()
    told = await report(config)
    assert told["requests"] == {"allowed": 5, "refused": 2, "unavailable": 0}
    assert told["unreadable"] == 0


async def test_a_database_that_hangs_under_traffic_touches_no_request_and_gets_all_of_it_later(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(await postgres.database("hangs"))
    async with upstream() as up:
        config = settings(tmp_path, up.port, f"interval: 50ms, {POSTGRES.format(url)}")
        async with gateway("--config", config, **KEYS) as (process, public, control):
            asked = await traffic(public, ["ana"], 10)
            await until_written(control, 10)
            postgres.pause()
            try:
                async with at_most(50):  # and not a wait of 10 s for each batch
                    for number in range(10):
                        asked += await traffic(public, [f"user-{number}-{other}" for other in range(10)], 10)
            finally:
                postgres.resume()
            await until_written(control, 1010)
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert "Traceback" not in process.output
    assert asked == {200: 505, 429: 505}
    told = await report(config)
    assert told["requests"] == {"allowed": 505, "refused": 505, "unavailable": 0}


async def test_what_a_database_that_is_away_did_not_take_until_the_end_is_counted_and_said(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(await postgres.database("away"))
    async with upstream() as up:
        config = settings(tmp_path, up.port, f"interval: 50ms, {POSTGRES.format(url)}")
        async with gateway("--config", config, **KEYS) as (process, public, control):
            await traffic(public, ["ana"], 10)
            await until_written(control, 10)
            await asyncio.to_thread(postgres.kill)
            assert await traffic(public, [f"user-{number}" for number in range(10)], 10) == {200: 50, 429: 50}
            await process.says("analytics_unavailable")
            async with at_most(10):
                process.signal(signal.SIGTERM)
                assert await process.ends() == 0
            (event,) = re.findall(r".*analytics_incomplete.*", process.output)
            assert json.loads(event)["requests"] == 100
            assert len(re.findall("analytics_unavailable", process.output)) == 1
            assert PASSWORD not in process.output
    await asyncio.to_thread(postgres.launch)
    assert (await report(config))["requests"] == {"allowed": 5, "refused": 5, "unavailable": 0}


async def test_a_database_that_is_away_at_the_start_keeps_nobody_waiting(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(await postgres.database("late"))
    await asyncio.to_thread(postgres.kill)
    async with upstream() as up:
        config = settings(tmp_path, up.port, f"interval: 50ms, {POSTGRES.format(url)}")
        async with gateway("--config", config, **KEYS) as (process, public, control):
            assert await traffic(public, ["ana"], 10) == {200: 5, 429: 5}
            await process.says("analytics_unavailable")
            await asyncio.to_thread(postgres.launch)
            await until_written(control, 10)
            await process.says("analytics_back")
    assert (await report(config))["requests"] == {"allowed": 5, "refused": 5, "unavailable": 0}


async def test_without_asyncpg_it_says_what_to_install_and_starts_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path, 9, POSTGRES.format("postgresql://gw@127.0.0.1/counted"))
    without = "import sys; sys.modules['asyncpg'] = None; from gateway.commands.cli import main; sys.exit(main())"
    command = (sys.executable, "-c", without, "serve", "--config", config)
    async with Process.start(*command, env=KEYS) as process:
        assert await process.ends() == 1
        assert "analytics.postgres needs asyncpg: install the extra postgres, see docs/installing.md" in process.output
        assert "Traceback" not in process.output
