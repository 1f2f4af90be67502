"""Parts that the tests of limiters and stores are built from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.limiter.failover import FailoverLimiter
from gateway.limiter.limiter import Limiter
from gateway.limiter.open import open_limiter
from gateway.limits.bucket import Charge, Demand, FailurePolicy, Quota
from gateway.limits.rate import Rate
from gateway.redis.address import Address, Kind, Login, Trust
from gateway.redis.client import PooledClient
from gateway.redis.clock import StoreClock
from gateway.redis.store import RedisStore
from tests.waiting import PATIENT


def demand(
    key: str = "a",
    *,
    rate: str = "1/h",
    burst: int = 10,
    cost: int = 1,
    enforced: bool = True,
    policy: FailurePolicy = FailurePolicy.LOCAL,
) -> Demand:
    limit, quota = key.partition(":")[0], Quota(Rate.parse(rate), burst)
    charge = Charge.of(limit, quota, cost, enforced=enforced, failure_policy=policy)
    return Demand(key.encode(), charge)


@dataclass
class Recorder:
    """An observer that records what it receives."""

    lost: list[str] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def redis_misconfigured(self, warning: str) -> None:
        self.warnings.append(warning)

    def redis_answered(self, checks: int, seconds: float) -> None:
        assert checks > 0
        assert seconds > 0

    def redis_unavailable(self, reason: str) -> None:
        self.lost.append(reason)

    def redis_back(self, seconds: float) -> None:
        self.back.append(seconds)


def address(url: str, login: Login | None = None, trust: Trust | None = None) -> Address:
    """What ``redis://``, ``unix://``, ``redis+sentinel://`` and ``redis+cluster://`` stand for in these tests."""
    parts = urlsplit(url)
    base, _, kind = parts.scheme.partition("+")
    login = login or Login(parts.username or None, parts.password)
    if base == "unix":
        return Address("socket", path=parts.path, database=int(parts.query.removeprefix("db=") or 0), login=login)
    places = [place.rpartition(":") for place in parts.netloc.rpartition("@")[2].split(",")]
    hosts = tuple((host, int(port)) for host, _, port in places)
    found: Kind = "sentinel" if kind == "sentinel" else "cluster" if kind == "cluster" else "server"
    service = parts.path.strip("/") if found == "sentinel" else ""
    return Address(found, hosts, service=service, tls=base == "rediss", login=login, trust=trust or Trust())


@asynccontextmanager
async def redis_store(url: str, *, prefix: str = "gateway", deadline: float = PATIENT) -> AsyncIterator[RedisStore]:
    store = RedisStore(address(url).open(), StoreClock(), prefix=prefix, deadline=deadline)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def limiter(
    url: str | None,
    observer: Recorder | None = None,
    login: Login | None = None,
    trust: Trust | None = None,
    **options: Any,
) -> AsyncIterator[Limiter]:
    opened = open_limiter(
        address(url, login, trust) if url else None, observer or Recorder(), **{"deadline": PATIENT, **options}
    )
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()


def failover_of(opened: Limiter) -> FailoverLimiter:
    assert isinstance(opened, FailoverLimiter)
    return opened


def pooled_client_of(store: RedisStore) -> PooledClient:
    client = store._client
    assert isinstance(client, PooledClient)
    return client
