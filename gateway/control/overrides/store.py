"""Where overrides are kept: in Redis for all gateways on it, or, with the memory store, in a file."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from gateway.control.audit.writer import Commands
from gateway.control.overrides.file import OverrideFile
from gateway.redis.errors import StoreUnavailableError

_PUT = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return redis.call('HINCRBY', KEYS[1], 'version', 1)"
_REMOVE = """\
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
"""
_BRING_BACK = """\
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for place = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
return 1
"""

UNKNOWN = -1


class Snapshot(NamedTuple):
    """What is kept.

    Attributes:
        version: Changes with every change; 0 when nothing was ever kept, `UNKNOWN` before anybody has looked.
        texts: Overrides by the digests of users.
    """

    version: int
    texts: Mapping[str, str]


class OverrideStore(Protocol):
    """Keeps overrides. Every method raises `StoreUnavailableError` when it may not have been done."""

    async def load(self, known: int) -> Snapshot | None:
        """What is kept; None when it is still at version `known`."""

    async def put(self, digest: str, text: str) -> None:
        """Keep an override in the place of what there was."""

    async def remove(self, digest: str, text: str) -> bool:
        """Remove an override if it is still this one; whether it was."""

    async def bring_back(self, snapshot: Snapshot) -> None:
        """Keep what was known, if all has been lost."""

    async def touch(self) -> None:
        """Have everybody load anew."""


class RedisOverrideStore:
    """In one hash, beside its version: a change and its version are one step, in a Cluster, too.

    Args:
        redis: Runs commands.
        prefix: What our keys start with.
    """

    def __init__(self, redis: Commands, prefix: str) -> None:
        self._redis = redis
        self._key = f"{prefix}:overrides"

    async def load(self, known: int) -> Snapshot | None:
        """What is kept; None when it is still at version `known`."""
        version = int(await self._redis.command("HGET", self._key, "version") or 0)
        if version == known:
            return None
        found = await self._redis.command("HGETALL", self._key)
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        texts = {bytes(name).decode(): bytes(text).decode() for name, text in pairs}
        return Snapshot(int(texts.pop("version", 0)), texts)

    async def put(self, digest: str, text: str) -> None:
        """Keep an override in the place of what there was."""
        await self._redis.command("EVAL", _PUT, 1, self._key, digest, text)

    async def remove(self, digest: str, text: str) -> bool:
        """Remove an override if it is still this one; whether it was."""
        return bool(await self._redis.command("EVAL", _REMOVE, 1, self._key, digest, text))

    async def bring_back(self, snapshot: Snapshot) -> None:
        """Keep what was known, if all has been lost."""
        words = [word for pair in snapshot.texts.items() for word in pair]
        await self._redis.command("EVAL", _BRING_BACK, 1, self._key, "version", snapshot.version + 1, *words)

    async def touch(self) -> None:
        """Have everybody load anew."""
        await self._redis.command("HINCRBY", self._key, "version", 1)


class FileOverrideStore:
    """In a file of this process' own.

    Args:
        sheet: The file.
    """

    def __init__(self, sheet: OverrideFile) -> None:
        self._sheet = sheet
        self._snapshot: Snapshot | None = None

    async def load(self, known: int) -> Snapshot | None:
        """What is kept; None when it is still at version `known`."""
        snapshot = await self._current()
        return None if snapshot.version == known else snapshot

    async def _current(self) -> Snapshot:
        if self._snapshot is None:
            try:
                self._snapshot = Snapshot(1, await asyncio.to_thread(self._sheet.read))
            except (OSError, ValueError) as error:
                raise StoreUnavailableError(f"{self._sheet.file} cannot be read: {error}") from error
        return self._snapshot

    async def put(self, digest: str, text: str) -> None:
        """Keep an override in the place of what there was."""
        await self._write({**(await self._current()).texts, digest: text})

    async def remove(self, digest: str, text: str) -> bool:
        """Remove an override if it is still this one; whether it was."""
        texts = dict((await self._current()).texts)
        if texts.get(digest) != text:
            return False
        del texts[digest]
        await self._write(texts)
        return True

    async def bring_back(self, snapshot: Snapshot) -> None:
        """Nothing is lost without us."""

    async def touch(self) -> None:
        """There is nobody else."""

    async def _write(self, texts: Mapping[str, str]) -> None:
        version = (await self._current()).version + 1
        try:
            await asyncio.to_thread(self._sheet.write, texts)
        except OSError as error:
            raise StoreUnavailableError(f"{self._sheet.file} cannot be written: {error.strerror}") from error
        self._snapshot = Snapshot(version, texts)
