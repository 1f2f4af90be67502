"""`OverrideStore`: where overrides are kept. With Redis, `RedisOverrideStore`, for all gateways on it; else a file."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from gateway.redis.client import RedisClient, run_script
from gateway.redis.scripts import Call, Script

_VERSION, _PUT, _REMOVE, _RESTORE = (
    Script.of(f"{name}.lua", package=__package__) for name in ("version", "put", "remove", "restore")
)

UNKNOWN = -1
"""The version of overrides that were never loaded."""


class StoredOverrides(NamedTuple):
    """All overrides that are stored.

    Attributes:
        version: Increases with every change; 0 if there never were any, or they were lost.
        texts: Overrides as they are stored, by the digests of users.
    """

    version: int
    texts: Mapping[str, str]


class OverrideStore(Protocol):
    """Stores overrides. Every method raises `StoreUnavailableError` if it may not have been done.

    Attributes:
        poll: Asks Redis for the version; None if nobody else can change it.
    """

    poll: Call | None

    async def load(self, known: int) -> StoredOverrides | None:
        """What is stored; None if that is still version `known`."""

    async def put(self, digest: str, text: str) -> None:
        """Store an override, in the place of any other of this user."""

    async def remove(self, digest: str, text: str) -> bool:
        """Remove an override if it is still this one. Returns whether it was."""

    async def restore(self, lost: StoredOverrides) -> None:
        """Store all overrides again, if they were lost."""

    async def touch(self) -> None:
        """Have all workers load again."""


class RedisOverrideStore:
    """Overrides in one hash, together with their version: a change and its version are one step, also in a Cluster.

    Args:
        redis: Where they are.
        prefix: Of our keys.
    """

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        self._redis = redis
        self._key = f"{prefix}:overrides".encode()
        self.poll: Call | None = Call(_VERSION, [self._key], [], 1)

    async def load(self, known: int) -> StoredOverrides | None:
        version = int(await self._redis.command("HGET", self._key, "version") or 0)
        if version == known:
            return None
        reply = await self._redis.command("HGETALL", self._key)
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        texts = {bytes(name).decode(): bytes(text).decode() for name, text in pairs}
        return StoredOverrides(int(texts.pop("version", 0)), texts)

    async def put(self, digest: str, text: str) -> None:
        await self._run(_PUT, digest, text)

    async def remove(self, digest: str, text: str) -> bool:
        return await self._run(_REMOVE, digest, text) == 1

    async def restore(self, lost: StoredOverrides) -> None:
        await self._run(_RESTORE, "version", lost.version + 1, *(text for pair in lost.texts.items() for text in pair))

    async def touch(self) -> None:
        await self._redis.command("HINCRBY", self._key, "version", 1)

    async def _run(self, script: Script, *arguments: str | int) -> int:
        (number,) = await run_script(self._redis, Call(script, [self._key], arguments, 1))
        return int(number)
