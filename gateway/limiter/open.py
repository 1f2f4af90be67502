"""`open_limiter`: the limiter that the settings ask for, with all its parts."""

from gateway.limiter.failover import FailoverLimiter
from gateway.limiter.limiter import Limiter
from gateway.limiter.memory import MemoryLimiter
from gateway.limiter.observer import RedisObserver
from gateway.redis.client import RedisClient
from gateway.redis.clock import StoreClock
from gateway.redis.cluster import ClusterStore
from gateway.redis.poller import Poller
from gateway.redis.store import RedisStore
from gateway.settings.store import Store


def open_limiter(
    settings: Store, client: RedisClient | None, poller: Poller, observer: RedisObserver, *, workers: int
) -> Limiter:
    """Make a limiter. Call it within a running event loop; nothing connects before `start`.

    Args:
        settings: Where buckets are stored.
        client: Carries the checks; None with the memory store. It is closed after the limiter.
        poller: Polls with `client`, and sends the heartbeats. It stops before the limiter is closed.
        observer: Receives what happens to Redis.
        workers: Workers of this gateway: the fleet is never taken to be smaller.
    """
    clock = StoreClock()
    if client is None:
        return MemoryLimiter(settings.max_buckets, clock)
    store_class = ClusterStore if settings.cluster else RedisStore
    store = store_class(
        client, clock, prefix=settings.prefix, deadline=settings.deadline, on_reply=observer.redis_answered
    )
    return FailoverLimiter(store, clock, poller, max_buckets=settings.max_buckets, workers=workers, observer=observer)
