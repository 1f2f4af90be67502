"""`open_limiter`: a limiter with everything behind it, for the composition root."""

import time
from collections.abc import Callable

from gateway.stores.address import Address, Login, Trust
from gateway.stores.clock import StoreClock, monotonic
from gateway.stores.cluster import ClusterStore
from gateway.stores.limiter import Limiter
from gateway.stores.local import LocalStore
from gateway.stores.redis import RedisStore
from gateway.stores.standby import NoStandby, Observer
from gateway.stores.watch import Watch

MEMORY = "memory"
"""The address of a store in this process."""


def wall_clock() -> Callable[[], int]:
    """Microseconds since 1970 by a clock that never steps: the machine's time now, and what has passed since."""
    offset = time.time_ns() // 1000 - monotonic()
    return lambda: monotonic() + offset


def open_limiter(
    url: str | Address,
    observer: Observer,
    *,
    prefix: str = "gateway",
    deadline: float = 0.050,
    max_buckets: int = 1_000_000,
    workers: int = 1,
    login: Login | None = None,
    sentinel: Login | None = None,
    trust: Trust | None = None,
) -> Limiter:
    """A limiter on a store. Call it where an event loop runs; nothing is connected before `start`.

    Args:
        url: ``memory``, or an address, or its text as `gateway.stores.address` reads it.
        observer: Is told when the store goes and comes.
        prefix: What our keys in Redis start with.
        deadline: Seconds a request waits for Redis at most.
        max_buckets: Buckets kept in memory; the least recently used goes first.
        workers: Workers of this gateway; the fleet is never taken for smaller.
        login: Who we are to Redis, if the address does not say.
        sentinel: Who we are to the Sentinels.
        trust: How TLS is set up.

    Raises:
        ValueError: it is no address.
    """
    if url == MEMORY:
        return Limiter(LocalStore(max_buckets, wall_clock()), NoStandby())
    address = Address.parse(url) if isinstance(url, str) else url
    channel = address.open(login=login, sentinel=sentinel, trust=trust)
    clock = StoreClock()
    kind = ClusterStore if address.kind == "cluster" else RedisStore
    store = kind(channel, clock, prefix=prefix, deadline=deadline, answered=observer.store_answered)
    watch = Watch(store, clock, max_buckets=max_buckets, workers=workers, observer=observer)
    return Limiter(store, watch)
