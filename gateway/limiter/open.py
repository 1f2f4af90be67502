"""`open_limiter`: a limiter with everything behind it, for the composition root."""

from gateway.limiter.failover import Failover
from gateway.limiter.limiter import Limiter
from gateway.limiter.memory import MemoryStore
from gateway.limiter.standby import NoStandby, Observer
from gateway.redis.address import Address
from gateway.redis.clock import StoreClock
from gateway.redis.cluster import ClusterStore
from gateway.redis.store import RedisStore


def open_limiter(
    address: Address | None,
    observer: Observer,
    *,
    prefix: str = "gateway",
    deadline: float = 0.050,
    max_buckets: int = 1_000_000,
    workers: int = 1,
) -> Limiter:
    """A limiter on a store. Call it where an event loop runs; nothing is connected before `start`.

    Args:
        address: Where Redis is; None for a store in this process.
        observer: Is told when the store goes and comes.
        prefix: What our keys in Redis start with.
        deadline: Seconds a request waits for Redis at most.
        max_buckets: Buckets kept in memory; the least recently used goes first.
        workers: Workers of this gateway; the fleet is never taken for smaller.
    """
    clock = StoreClock()
    if address is None:
        return Limiter(MemoryStore(max_buckets, clock), NoStandby())
    channel = address.open()
    kind = ClusterStore if address.kind == "cluster" else RedisStore
    store = kind(channel, clock, prefix=prefix, deadline=deadline, answered=observer.store_answered)
    watch = Failover(store, clock, max_buckets=max_buckets, workers=workers, observer=observer)
    return Limiter(store, watch)
