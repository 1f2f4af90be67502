"""Removes what a gateway has stored in Redis."""

import re
from collections import Counter

from gateway.redis.client import RedisClient

_KINDS = ("bucket", "fleet", "overrides", "reload", "audit", "reservation")
"""What comes after the prefix in our keys. Another gateway's prefix may begin with ours: its keys have another word
there."""


async def count_keys(client: RedisClient, prefix: str) -> Counter[str]:
    """How many keys a gateway has in Redis, by kind.

    Raises:
        StoreUnavailableError: Redis does not reply, or does not allow it.
    """
    return await _visit(client, prefix, remove=False)


async def purge(client: RedisClient, prefix: str) -> Counter[str]:
    """Remove the keys of a gateway from Redis, without blocking it. Returns how many, by kind.

    Raises:
        StoreUnavailableError: Redis does not reply, or does not allow it; some keys may be gone.
    """
    return await _visit(client, prefix, remove=True)


async def _visit(client: RedisClient, prefix: str, *, remove: bool) -> Counter[str]:
    ours = re.compile(rb"%s:(%s)(?=:|$)" % (re.escape(prefix.encode()), "|".join(_KINDS).encode()))
    found: Counter[str] = Counter()
    seen: set[bytes] = set()

    async def handle(page: list[bytes]) -> None:
        for key in page:
            kind = ours.match(key)
            if kind is None or (not remove and key in seen):
                continue
            if remove:
                # One by one: in a Cluster each has a slot of its own.
                found[kind[1].decode()] += await client.command("UNLINK", key)
            else:
                seen.add(key)
                found[kind[1].decode()] += 1

    await client.scan(f"{prefix}:*", handle)
    return found
