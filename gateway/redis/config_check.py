"""`check_config`: Redis settings that may lose buckets or refuse writes."""

from gateway.redis.client import RedisClient
from gateway.redis.errors import StoreUnavailableError

NO_EVICTION = (
    "Redis has maxmemory-policy noeviction: when it is full it refuses writes, and each worker enforces its own share "
    "of the limits until there is room. Set volatile-lru, which evicts the least recently used buckets first."
)
OTHER_EVICTION = (
    "Redis has maxmemory-policy {policy}: when it is full it may evict buckets that are in use, which then count as "
    "full. Set volatile-lru, which evicts the least recently used buckets first."
)
SNAPSHOTS = (
    "Redis persists snapshots only: after a crash, buckets are as they were at the last snapshot, and if a snapshot "
    "cannot be written, Redis refuses writes (stop-writes-on-bgsave-error). Set appendonly yes, or save ''."
)
NOTHING_KEPT = (
    "Redis persists nothing: after it restarts, every bucket is full whose state no worker remembers. Set appendonly "
    "yes if that matters."
)
NO_EVICTION_OF_QUOTAS = (
    "Redis has maxmemory-policy noeviction: when it is full it refuses writes, and each worker enforces its own share "
    "of the limits until there is room. Set volatile-ttl, which first evicts the buckets that are full again soonest."
)
EVICTION_OF_QUOTAS = (
    "Redis has maxmemory-policy {policy}: when it is full it may evict calendar quotas in use, which then count as "
    "unused until their period ends. Set volatile-ttl, which first evicts the buckets that are full again soonest."
)
SNAPSHOTS_OF_QUOTAS = (
    "Redis persists snapshots only: after a crash, what was used of a calendar quota since the last snapshot can be "
    "used again in the same period, and if a snapshot cannot be written, Redis refuses writes "
    "(stop-writes-on-bgsave-error). Set appendonly yes."
)
NO_QUOTAS_KEPT = (
    "Redis persists nothing: after it restarts, every calendar quota can be used once more before its period ends. Set "
    "appendonly yes."
)

_SAFE_POLICIES = {None, "volatile-lru", "allkeys-lru", "volatile-ttl"}

_SAFE_FOR_QUOTAS = {None, "volatile-ttl"}


async def check_config(client: RedisClient, *, has_quotas: bool = False) -> list[str]:
    """Warnings about Redis' configuration; none about settings that it does not let us read.

    Args:
        client: Asks.
        has_quotas: Whether a limit has a calendar quota. A lost bucket then means up to a month, not seconds.
    """
    warnings = []
    policy = await _setting(client, "maxmemory-policy")
    if policy == "noeviction":
        warnings.append(NO_EVICTION_OF_QUOTAS if has_quotas else NO_EVICTION)
    elif policy not in (_SAFE_FOR_QUOTAS if has_quotas else _SAFE_POLICIES):
        warnings.append((EVICTION_OF_QUOTAS if has_quotas else OTHER_EVICTION).format(policy=policy))
    append_only, snapshots = await _setting(client, "appendonly"), await _setting(client, "save")
    if append_only == "no" and snapshots is not None:
        if has_quotas:
            warnings.append(SNAPSHOTS_OF_QUOTAS if snapshots else NO_QUOTAS_KEPT)
        else:
            warnings.append(SNAPSHOTS if snapshots else NOTHING_KEPT)
    return warnings


async def _setting(client: RedisClient, name: str) -> str | None:
    try:
        reply = await client.command("CONFIG", "GET", name)
    except StoreUnavailableError:
        return None  # many hosted Redis services do not allow CONFIG
    return reply[1].decode(errors="replace") if len(reply) > 1 else None
