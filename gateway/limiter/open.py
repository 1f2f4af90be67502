"""`open_limiter`: the limiter that the settings ask for, with all its parts."""

from gateway.limiter.failover import FailoverLimiter
from gateway.limiter.limiter import Limiter
from gateway.limiter.memory import MemoryLimiter
from gateway.limiter.observer import RedisObserver
from gateway.redis.address import Address
from gateway.redis.clock import StoreClock
from gateway.redis.cluster import ClusterStore
from gateway.redis.store import RedisStore


def open_limiter(
    address: Address | None,
    observer: RedisObserver,
    *,
    prefix: str = "gateway",
    deadline: float = 0.050,
    max_buckets: int = 1_000_000,
    workers: int = 1,
) -> Limiter:
    """Make a limiter. Call it within a running event loop; nothing connects before `start`.

    Args:
        address: Where Redis is; None to keep buckets in this process.
        observer: Receives what happens to Redis.
        prefix: What our keys in Redis start with.
        deadline: Seconds that a request waits for Redis at most.
        max_buckets: Buckets kept in memory; the least recently used is dropped first.
        workers: Workers of this gateway: the fleet is never taken to be smaller.
    """
    clock = StoreClock()
    if address is None:
        return MemoryLimiter(max_buckets, clock)
    store_class = ClusterStore if address.kind == "cluster" else RedisStore
    store = store_class(address.open(), clock, prefix=prefix, deadline=deadline, on_reply=observer.redis_answered)
    return FailoverLimiter(store, clock, max_buckets=max_buckets, workers=workers, observer=observer)
