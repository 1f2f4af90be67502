"""Parts that the tests of limiters and stores are built from."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.limiter.failover import FailoverLimiter
from gateway.limiter.limiter import Limiter, open_limiter
from gateway.limiter.recovery import RedisObserver
from gateway.limits.calendar import UTC_ZONE, Calendar, CalendarRate, parse_amount
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.redis.client import PooledClient, RedisClient
from gateway.redis.clock import StoreClock
from gateway.redis.open import connected, open_client
from gateway.redis.poller import Poller
from gateway.redis.store import RedisStore
from gateway.settings.store import Sentinel, Store
from gateway.settings.url import HostPort, RedisUrl
from tests.waiting import PATIENT


def demand(
    key: str = "a",
    *,
    rate: str = "1/h",
    burst: int = 10,
    cost: int = 1,
    enforced: bool = True,
    policy: FailurePolicy = FailurePolicy.LOCAL,
    reserve: float = 0.0,
) -> Demand:
    limit, quota = key.partition(":")[0], Quota(Rate.parse(rate), burst)
    charge = Charge.of(limit, quota, cost, enforced=enforced, failure_policy=policy, reserve=reserve)
    return Demand(key.encode(), charge)


def quota_demand(
    key: str = "a", amount: str = "10/month", cost: int = 1, policy: FailurePolicy = FailurePolicy.LOCAL
) -> Demand:
    """What is charged to a calendar quota, in UTC."""
    tokens, unit = parse_amount(amount)
    quota = Quota.each_period(CalendarRate(tokens, Calendar(unit, UTC_ZONE)))
    return Demand(key.encode(), Charge.of(key, quota, cost, failure_policy=policy))


@dataclass
class Recorder:
    """An observer that records what it receives."""

    lost: list[str] = field(default_factory=list)
    still_lost: list[str] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lost_settlements: int = 0

    def redis_misconfigured(self, warning: str) -> None:
        self.warnings.append(warning)

    def redis_answered(self, checks: int, seconds: float) -> None:
        assert checks > 0
        assert seconds > 0

    def settlements_lost(self, count: int) -> None:
        self.lost_settlements += count

    def redis_unavailable(self, reason: str) -> None:
        self.lost.append(reason)

    def redis_still_unavailable(self, reason: str) -> None:
        self.still_lost.append(reason)

    def redis_back(self, seconds: float) -> None:
        self.back.append(seconds)


def store_of(url: str, **settings: Any) -> Store:
    """Settings for ``redis://``, ``unix://``, and what these tests write for ``redis+sentinel://``, ``redis+cluster://``.

    Only here does the URL of a Unix socket end in ``?db=`` and a number.
    """
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    place, _, database = rest.partition("?db=")
    first, *more = place.split(",")
    if kind == "sentinel":
        sentinels, _, service = place.partition("/")
        sentinel = Sentinel(service, tuple(HostPort.parse(node) for node in sentinels.split(",")))
        return Store(RedisUrl.parse(f"{base}://{service}"), sentinel=sentinel, **settings)
    nodes = tuple(map(HostPort.parse, more))
    found = replace(RedisUrl.parse(f"{base}://{first}"), database=int(database or 0))
    return Store(found, cluster=kind == "cluster", nodes=nodes, **settings)


def client_of(url: str) -> RedisClient:
    client = open_client(store_of(url))
    assert client is not None
    return client


@asynccontextmanager
async def redis_store(url: str, *, prefix: str = "gateway", deadline: float = PATIENT) -> AsyncIterator[RedisStore]:
    client = client_of(url)
    store = RedisStore(client, StoreClock(), prefix=prefix, deadline=deadline)
    try:
        yield store
    finally:
        await store.close()
        await client.close()


@asynccontextmanager
async def limiter(
    url: str | None,
    observer: RedisObserver | None = None,
    *,
    workers: int = 1,
    has_quotas: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> AsyncIterator[Limiter]:
    settings = {"deadline": PATIENT, **settings}
    store = store_of(url, **settings) if url else Store(**settings)
    async with connected(store) as client:
        poller = Poller(client)
        observer = observer or Recorder()
        opened = open_limiter(store, client, poller, observer, workers=workers, has_quotas=has_quotas)
        await opened.start()
        try:
            async with poller.polling():
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
