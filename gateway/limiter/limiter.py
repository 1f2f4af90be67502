"""`Limiter`: may this request pass? `open_limiter` makes the one that the settings ask for."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.limiter.failover import FailoverLimiter
from gateway.limiter.memory import MemoryLimiter
from gateway.limiter.recovery import RedisObserver
from gateway.limiter.verdict import Verdict
from gateway.limits.charge import Demand
from gateway.limits.in_flight import InFlight
from gateway.redis.client import RedisClient
from gateway.redis.clock import StoreClock
from gateway.redis.cluster import ClusterStore
from gateway.redis.poller import Poller
from gateway.redis.store import RedisStore
from gateway.settings.store import Store


class Limiter(Protocol):
    """Decides on requests: `MemoryLimiter` without Redis, `FailoverLimiter` with it."""

    async def check(self, demands: Sequence[Demand]) -> Verdict:
        """Charge all buckets of a request, or none. Never fails."""

    def settle(self, demands: Sequence[Demand], verdict: Verdict, difference: int) -> None:
        """An allowed request has ended: charge or refund what it cost more or less than was charged for it.

        Limits of requests at once count it no more. Never fails, and nobody waits for it. While Redis is unavailable,
        what was charged stays charged.

        Args:
            demands: What was demanded for it.
            verdict: The result of its check.
            difference: Tokens by which it has cost more than was charged for it; negative if it has cost less.
        """

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets.

        Raises:
            StoreUnavailableError: they are full in this worker; in Redis they may or may not be.
        """

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Stop refusing from memory what another worker may have filled: these buckets, or all if None."""

    @property
    def in_flight(self) -> InFlight:
        """This worker's requests in flight that limits of requests at once count."""

    @property
    def clock(self) -> Callable[[], int]:
        """The time by which requests are decided, in microseconds since 1970: that of Redis, as far as it is known."""

    @property
    def is_degraded(self) -> bool:
        """Whether requests are decided without Redis although it is configured."""

    @property
    def workers(self) -> int:
        """Workers of all gateways that share the limits, as last seen."""

    @property
    def held(self) -> int:
        """Buckets in this worker's memory."""

    @property
    def evicted(self) -> int:
        """Buckets that this worker dropped for want of room, although they were not full."""

    async def start(self) -> None:
        """Connect. Redis may be unavailable: that keeps no gateway from starting."""

    async def close(self) -> None:
        """Stop what runs in the background, and disconnect."""


def open_limiter(
    settings: Store,
    client: RedisClient | None,
    poller: Poller,
    observer: RedisObserver,
    *,
    workers: int,
    has_quotas: Callable[[], bool] = lambda: False,
) -> Limiter:
    """Make a limiter. Call it within a running event loop; nothing connects before `start`.

    Args:
        settings: Where buckets are stored.
        client: Carries the checks; None with the memory store. It is closed after the limiter.
        poller: Polls with `client`, and sends the heartbeats. It stops before the limiter is closed.
        observer: Receives what happens to Redis.
        workers: Workers of this gateway: the fleet is never taken to be smaller.
        has_quotas: Whether a limit has a calendar quota at present: Redis has to keep those for long.
    """
    clock = StoreClock()
    if client is None:
        return MemoryLimiter(settings.max_buckets, clock)
    store_class = ClusterStore if settings.cluster else RedisStore
    store = store_class(
        client, clock, prefix=settings.prefix, deadline=settings.deadline, on_reply=observer.redis_answered,
        on_lost=observer.settlements_lost,
    )  # fmt: skip
    return FailoverLimiter(
        store,
        clock,
        poller,
        max_buckets=settings.max_buckets,
        workers=workers,
        observer=observer,
        has_quotas=has_quotas,
    )
