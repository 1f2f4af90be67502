"""`check_config`: what an operator should know about a Redis before it surprises them."""

from typing import Any

from gateway.redis.client import RedisClient
from gateway.redis.port import StoreUnavailableError

NO_EVICTION = (
    "Redis has maxmemory-policy noeviction: when it is full it takes no more writes, and each worker enforces its own "
    "share of the limits until there is room. Set volatile-lru: the buckets that were used longest ago go first."
)
OTHER_EVICTION = (
    "Redis has maxmemory-policy {policy}: when it is full it may drop buckets that are in use, which are full then. "
    "Set volatile-lru: the buckets that were used longest ago go first."
)
SNAPSHOTS = (
    "Redis keeps snapshots only: after a crash buckets are as they were at the last one, and a snapshot that cannot be "
    "written makes Redis refuse writes (stop-writes-on-bgsave-error). Set appendonly yes, or save ''."
)
NOTHING_KEPT = "Redis keeps nothing on disk: after a restart every bucket is full that no worker remembers."


_SOUND = {None, "volatile-lru", "allkeys-lru", "volatile-ttl"}


async def check_config(channel: RedisClient) -> list[str]:
    """Warnings about how Redis is set up. What it does not tell us, we do not warn about."""
    warnings = []
    policy = await _setting(channel, "maxmemory-policy")
    if policy == "noeviction":
        warnings.append(NO_EVICTION)
    elif policy not in _SOUND:
        warnings.append(OTHER_EVICTION.format(policy=policy))
    log, snapshots = await _setting(channel, "appendonly"), await _setting(channel, "save")
    if log == "no" and snapshots is not None:
        warnings.append(SNAPSHOTS if snapshots else NOTHING_KEPT)
    return warnings


async def _setting(channel: RedisClient, name: str) -> str | None:
    try:
        reply: Any = await channel.command("CONFIG", "GET", name)
    except StoreUnavailableError:
        return None  # many a hosted Redis has no CONFIG
    return reply[1].decode(errors="replace") if len(reply) > 1 else None
