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

_SAFE_POLICIES = {None, "volatile-lru", "allkeys-lru", "volatile-ttl"}


async def check_config(client: RedisClient) -> list[str]:
    """Warnings about Redis' configuration; none about settings that it does not let us read."""
    warnings = []
    policy = await _setting(client, "maxmemory-policy")
    if policy == "noeviction":
        warnings.append(NO_EVICTION)
    elif policy not in _SAFE_POLICIES:
        warnings.append(OTHER_EVICTION.format(policy=policy))
    append_only, snapshots = await _setting(client, "appendonly"), await _setting(client, "save")
    if append_only == "no" and snapshots is not None:
        warnings.append(SNAPSHOTS if snapshots else NOTHING_KEPT)
    return warnings


async def _setting(client: RedisClient, name: str) -> str | None:
    try:
        reply = await client.command("CONFIG", "GET", name)
    except StoreUnavailableError:
        return None  # many hosted Redis services do not allow CONFIG
    return reply[1].decode(errors="replace") if len(reply) > 1 else None
