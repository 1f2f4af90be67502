"""Redis behind a socket, a login, TLS, Sentinels; and what is said of how it is set up."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis

from gateway.limits.at_once import AtOnce
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.redis.config_check import (
    EVICTION_OF_QUOTAS,
    NO_EVICTION,
    NO_EVICTION_OF_QUOTAS,
    NO_QUOTAS_KEPT,
    NOTHING_KEPT,
    OTHER_EVICTION,
    SNAPSHOTS,
    SNAPSHOTS_OF_QUOTAS,
)
from gateway.settings.store import StoreTls
from tests.redis.builders import Recorder, demand, limiter
from tests.redis.clusters import redis_cluster, sentinel_group
from tests.redis_server import redis_server, with_tls
from tests.reserved_port import ReservedPort
from tests.tls_front import tls_front
from tests.waiting import DEADLINE, eventually, until


async def test_redis_behind_a_unix_socket() -> None:
    async with redis_server() as server, limiter(f"unix://{server.path}?db=3") as opened:
        assert not (await opened.check([demand()])).degraded
        async with Redis(port=server.port, db=3) as client:
            assert await client.exists("gateway:bucket:a") == 1


_COMMANDS = (
    "evalsha", "eval", "time", "mget", "set", "del", "zadd", "zrem", "zremrangebyscore", "zcount", "zrange", "pexpire",
    "hgetall", "hset", "hdel", "select",
)  # fmt: skip


@pytest.mark.usefixtures("redis_and_valkey")
async def test_redis_with_an_acl_user_who_may_do_no_more_than_needed() -> None:
    rights = ("~gateway:*", "resetchannels", "-@all", *(f"+{name}" for name in _COMMANDS))
    async with redis_server("--user", "limits", "on", ">s3cret", *rights) as server:
        observer = Recorder()
        url = server.url.replace("://", "://limits:s3cret@")
        async with limiter(url, observer) as opened:
            verdicts = [await opened.check([demand(burst=2)]) for _ in range(3)]
            assert [(verdict.allowed, verdict.degraded) for verdict in verdicts] == [
                (True, False),
                (True, False),
                (False, False),
            ]
            await opened.reset([b"a"])
            one = Demand(b"one", Charge.of("one", Quota(AtOnce(), 1), refunds=True))
            held = [await opened.check([one]) for _ in range(2)]
            assert [(verdict.allowed, verdict.degraded) for verdict in held] == [(True, False), (False, False)]
            opened.settle([one], held[0], 0)
        assert observer.lost == observer.warnings == []


@pytest.mark.usefixtures("redis_and_valkey")
async def test_a_wrong_password_starts_the_gateway_degraded_and_is_not_shown() -> None:
    async with redis_server("--requirepass", "right") as server:
        observer = Recorder()
        async with limiter(server.url.replace("://", "://:wrong!@"), observer) as opened:
            assert (await opened.check([demand()])).degraded
        assert len(observer.lost) == 1
        assert "wrong!" not in observer.lost[0]


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with a CA, and a certificate with its key for the server and for the client."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, identity in (("server", "localhost"), ("client", "gateway")):
        certificate = ca.issue_cert(identity)
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    return tmp_path


@asynccontextmanager
async def redis_behind_a_tls_front(certificates: Path) -> AsyncIterator[int]:
    """A Redis that was built without TLS, and what operators put before it; it asks for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    async with redis_server() as server, tls_front(server.port, context) as port:
        yield port


@asynccontextmanager
async def redis_with_tls(certificates: Path) -> AsyncIterator[int]:
    """A Redis that speaks TLS itself, and asks for a certificate."""
    files = {"ca-cert-file": "ca.pem", "cert-file": "server.pem", "key-file": "server.key"}
    options = [word for name, file in files.items() for word in (f"--tls-{name}", str(certificates / file))]
    with ReservedPort() as port:
        async with redis_server("--tls-port", str(port.number), *options, version=with_tls()[0]):
            yield port.number


@pytest.mark.parametrize("opened_tls", [redis_behind_a_tls_front, *([redis_with_tls] if with_tls() else [])])
async def test_redis_over_tls_with_certificates_on_both_sides(
    certificates: Path, opened_tls: Callable[[Path], AbstractAsyncContextManager[int]]
) -> None:
    ca = certificates / "ca.pem"
    tls = StoreTls(ca, certificates / "client.pem", certificates / "client.key")
    async with opened_tls(certificates) as port:
        url = f"rediss://localhost:{port}"
        async with limiter(url, tls=tls) as opened:
            assert not (await opened.check([demand()])).degraded
        for weak in (StoreTls(), StoreTls(ca=ca)):
            observer = Recorder()
            async with limiter(url, observer, tls=weak) as opened:
                assert (await opened.check([demand()])).degraded
            assert len(observer.lost) == 1


@pytest.mark.usefixtures("redis_and_valkey")
async def test_a_sentinel_failover_costs_no_request_and_keeps_the_buckets() -> None:
    async with sentinel_group() as (master, replica, sentinel):
        observer = Recorder()
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        async with limiter(url, observer) as opened:
            assert not (await opened.check([demand(burst=10, cost=4)])).degraded
            async with Redis(port=replica.port, protocol=2) as client:
                await eventually(lambda: client.exists("gateway:bucket:a"))
            master.kill()
            count = 0
            async with asyncio.timeout(DEADLINE):
                while not observer.back:
                    verdict = await opened.check([demand("b", burst=100_000)])
                    assert verdict.allowed
                    count += 1
                    await asyncio.sleep(0.01)
            verdict = await opened.check([demand(burst=10, cost=0)])
            assert not verdict.degraded
            assert round(verdict.decision.owed[0] / 3_600_000_000, 1) == 4.0
            # What was let through meanwhile is in the new master.
            owed = (await opened.check([demand("b", burst=100_000, cost=0)])).decision.owed[0]
            assert round(owed / 3_600_000_000) == count
        assert len(observer.lost) == len(observer.back) == 1


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        (("--appendonly", "yes", "--maxmemory-policy", "volatile-lru"), []),
        (("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"), []),
        (("--maxmemory-policy", "noeviction"), [NO_EVICTION, NOTHING_KEPT]),
        (("--maxmemory-policy", "volatile-ttl", "--save", "60", "1"), [SNAPSHOTS]),
        (
            ("--maxmemory-policy", "allkeys-random", "--appendonly", "yes"),
            [OTHER_EVICTION.format(policy="allkeys-random")],
        ),
    ],
)
async def test_what_may_surprise_is_said_at_the_start(options: tuple[str, ...], warnings: list[str]) -> None:
    observer = Recorder()
    async with redis_server(*options) as server, limiter(server.url, observer):
        assert observer.warnings == warnings


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        (("--appendonly", "yes", "--maxmemory-policy", "volatile-ttl"), []),
        (
            ("--appendonly", "yes", "--maxmemory-policy", "volatile-lru"),
            [EVICTION_OF_QUOTAS.format(policy="volatile-lru")],
        ),
        (("--maxmemory-policy", "noeviction"), [NO_EVICTION_OF_QUOTAS, NO_QUOTAS_KEPT]),
        (("--maxmemory-policy", "volatile-ttl", "--save", "60", "1"), [SNAPSHOTS_OF_QUOTAS]),
    ],
)
async def test_what_may_lose_a_month_is_said_if_there_are_calendar_quotas(
    options: tuple[str, ...], warnings: list[str]
) -> None:
    observer = Recorder()
    async with redis_server(*options) as server, limiter(server.url, observer, has_quotas=lambda: True):
        assert observer.warnings == warnings


async def test_what_may_lose_a_month_is_said_after_a_reload_with_the_first_calendar_quota() -> None:
    observer, quotas = Recorder(), [False]
    async with (
        redis_server("--appendonly", "yes", "--maxmemory-policy", "volatile-lru") as server,
        limiter(server.url, observer, has_quotas=lambda: quotas[0]),
    ):
        assert observer.warnings == []
        quotas[0] = True
        await until(lambda: observer.warnings)
        assert observer.warnings == [EVICTION_OF_QUOTAS.format(policy="volatile-lru")]


@pytest.mark.usefixtures("redis_and_valkey")
async def test_what_may_surprise_is_said_when_redis_is_first_found() -> None:
    observer = Recorder()
    async with redis_server() as server:
        server.kill()
        async with limiter(server.url, observer):
            assert observer.warnings == []
            await server.start()
            await until(lambda: observer.warnings)
            assert NO_EVICTION in observer.warnings


async def test_a_cluster_is_surveyed_too() -> None:
    observer = Recorder()
    async with (
        redis_cluster("--maxmemory-policy", "allkeys-random") as nodes,
        limiter(f"redis+cluster://127.0.0.1:{nodes[0].port}", observer),
    ):
        assert observer.warnings == [OTHER_EVICTION.format(policy="allkeys-random"), NOTHING_KEPT]
