"""How many commands a Redis has executed so far, from its INFO."""

import asyncio
import re
from typing import NamedTuple

from tests.redis_server import RedisServer


class RedisCounts(NamedTuple):
    """Counts of one Redis.

    Attributes:
        calls: Commands that clients sent, without those that scripts call.
        reads: How often buckets were read.
        memory: Bytes used.
    """

    calls: int
    reads: int
    memory: int


_SENT = ("evalsha", "eval", "incrby", "expire")
"""What the peers send."""

_READS = ("mget", "incr", "incrby")
"""What they read a bucket with, mostly from a script. The gateway's heartbeat uses none of these."""


async def redis_counts(redis: RedisServer | None) -> RedisCounts:
    """Read the counts."""
    if redis is None:
        return RedisCounts(0, 0, 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", redis.port)
    writer.write(b"INFO everything\r\n")
    length = int((await reader.readuntil(b"\r\n"))[1:])
    text = (await reader.readexactly(length)).decode()
    writer.close()
    await writer.wait_closed()
    calls = {name: int(count) for name, count in re.findall(r"cmdstat_([\w|-]+):calls=(\d+)", text)}
    memory = re.search(r"used_memory:(\d+)", text)
    return RedisCounts(
        sum(calls.get(name, 0) for name in _SENT),
        sum(calls.get(name, 0) for name in _READS),
        int(memory[1]) if memory else 0,
    )
