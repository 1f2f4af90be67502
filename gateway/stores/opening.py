"""`open_limiter`: a limiter with everything behind it, for the composition root."""

from gateway.stores.address import Address
from gateway.stores.clock import StoreClock
from gateway.stores.cluster import ClusterStore
from gateway.stores.limiter import Limiter
from gateway.stores.local import LocalStore
from gateway.stores.redis import RedisStore
from gateway.stores.standby import NoStandby, Observer
from gateway.stores.watch import Watch


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
        return Limiter(LocalStore(max_buckets, clock), NoStandby())
    channel = address.open()
    kind = ClusterStore if address.kind == "cluster" else RedisStore
    store = kind(channel, clock, prefix=prefix, deadline=deadline, answered=observer.store_answered)
    watch = Watch(store, clock, max_buckets=max_buckets, workers=workers, observer=observer)
    return Limiter(store, watch)
