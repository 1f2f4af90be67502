"""What a Redis has been asked so far, by its own account."""

import asyncio
import re
from typing import NamedTuple

from tests.redis_server import RedisServer


class Asked(NamedTuple):
    """Of one Redis.

    Attributes:
        calls: Commands that clients sent, those of scripts not counted.
        reads: Times that buckets were looked at.
        memory: Bytes its data takes.
    """

    calls: int
    reads: int
    memory: int


_SENT = ("evalsha", "eval", "incrby", "expire")
"""What the peers send."""

_READS = ("mget", "incr", "incrby")
"""What they look at a bucket with, most of them from a script. The gateway's signs of life use none of these."""


async def commands(redis: RedisServer | None) -> Asked:
    """Ask it."""
    if redis is None:
        return Asked(0, 0, 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", redis.port)
    writer.write(b"INFO everything\r\n")
    length = int((await reader.readuntil(b"\r\n"))[1:])
    text = (await reader.readexactly(length)).decode()
    writer.close()
    await writer.wait_closed()
    calls = {name: int(count) for name, count in re.findall(r"cmdstat_([\w|-]+):calls=(\d+)", text)}
    memory = re.search(r"used_memory:(\d+)", text)
    return Asked(
        sum(calls.get(name, 0) for name in _SENT),
        sum(calls.get(name, 0) for name in _READS),
        int(memory[1]) if memory else 0,
    )
