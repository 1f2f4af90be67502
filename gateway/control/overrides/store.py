"""`OverrideStore`: where overrides are kept. With Redis, `RedisOverrideStore`, for all gateways on it; else a file."""

import secrets
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from itertools import islice
from typing import NamedTuple, Protocol

from gateway.redis.client import RedisClient, run_script
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, Script

_VERSION, _CHANGES, _PUT, _REMOVE, _STAGE, _SWAP = (
    Script.of("note.lua", f"{name}.lua", package=__package__)
    for name in ("version", "changes", "put", "remove", "stage", "swap")
)

_PAGE = 500
"""Overrides that Redis reads or writes in one go: about a millisecond of its time."""

_STAGED = 60_000
"""Milliseconds that gathered overrides are kept after the last was added, if whoever gathered them has died."""

_TRIES = 5
"""How often all overrides are loaded, if they are replaced meanwhile."""

_OWN = {b"generation", b"number", b"touches"}
"""Fields of the hash that are not digests; besides those of changes."""


class Version(NamedTuple):
    """Which overrides are stored.

    Attributes:
        generation: When they were first set or last replaced as a whole, in microseconds since 1970; 0 if there never
            were any, or they were lost.
        number: How often one was changed since.
    """

    generation: int
    number: int

    def __str__(self) -> str:
        return f"{self.generation}-{self.number}"


NONE = Version(0, 0)
"""The version of overrides that never were, or were lost."""

UNKNOWN = Version(-1, 0)
"""The version of overrides that were never loaded."""


class StoredOverrides(NamedTuple):
    """Overrides that are stored.

    Attributes:
        version: Their version.
        texts: Overrides as they are stored, by the digests of targets: all, or those that have changed.
        removed: The digests of those that are stored no more, if these are not all.
        is_whole: Whether these are all.
    """

    version: Version
    texts: Mapping[bytes, bytes]
    removed: Collection[bytes] = ()
    is_whole: bool = True


class OverrideStore(Protocol):
    """Stores overrides. Every method raises `StoreUnavailableError` if it may not have been done.

    Attributes:
        poll: Asks Redis for the version, and how often `touch` was called; None if nobody else can change it.
    """

    poll: Call | None

    async def load(self, known: Version) -> StoredOverrides | None:
        """What is stored, or what has changed since version `known`; None if nothing has."""

    async def put(self, digest: bytes, text: bytes) -> None:
        """Store an override, in the place of any other of this target."""

    async def remove(self, texts: Mapping[bytes, bytes]) -> Collection[bytes]:
        """Remove overrides that are still these. Returns the digests of those that were."""

    async def replace(self, texts: Mapping[bytes, bytes], known: Version) -> bool:
        """Replace all overrides in one step, if they are still those of version `known`. Returns whether they were."""

    async def restore(self, texts: Mapping[bytes, bytes]) -> None:
        """Store all overrides again, if they were lost."""

    async def touch(self) -> None:
        """Have all workers forget what they know of buckets."""


class RedisOverrideStore:
    """Overrides in one hash, together with their version: a change and its version are one step, also in a Cluster.

    Args:
        redis: Where they are.
        prefix: Of our keys.
    """

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        self._redis = redis
        self._key = f"{prefix}:overrides".encode()
        self.poll: Call | None = Call(_VERSION, [self._key], [], 3)

    async def load(self, known: Version) -> StoredOverrides | None:
        version, changes = await self._changes(known)
        for _ in range(_TRIES):
            if version == known:
                return None
            if changes is not None:
                return changes
            loaded = version
            texts = {digest: text async for page in self._pages() for digest, text in page}
            version, changes = await self._changes(loaded)
            if changes is not None:
                kept = {digest: text for digest, text in texts.items() if digest not in changes.removed}
                return StoredOverrides(version, {**kept, **changes.texts})
        raise StoreUnavailableError("the overrides were replaced each time before all were loaded")

    async def _changes(self, known: Version) -> tuple[Version, StoredOverrides | None]:
        """The version now, and what has changed since another; None if that is not known any more."""
        generation, number, is_known, *found = await run_script(
            self._redis, Call(_CHANGES, [self._key], [*known], None)
        )
        version = Version(generation, number)
        if not is_known:
            return version, None
        texts = dict(_pairs(found))
        removed = [digest for digest, text in texts.items() if not text]
        for digest in removed:
            del texts[digest]
        return version, StoredOverrides(version, texts, removed, is_whole=False)

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """All overrides, page by page: Redis would be blocked for too long by all at once."""
        cursor = 0
        while True:
            reply, found = await self._redis.command("HSCAN", self._key, cursor, "COUNT", _PAGE)
            fields = found.items() if isinstance(found, dict) else _pairs(found)
            yield [(bytes(name), bytes(text)) for name, text in fields if _is_digest(name)]
            cursor = int(reply)
            if not cursor:
                return

    async def put(self, digest: bytes, text: bytes) -> None:
        await run_script(self._redis, Call(_PUT, [self._key], [digest, text], 1))

    async def remove(self, texts: Mapping[bytes, bytes]) -> Collection[bytes]:
        removed: list[bytes] = []
        for page in _in_pages(texts):
            arguments = [each for pair in page for each in pair]
            reply = await run_script(self._redis, Call(_REMOVE, [self._key], arguments, len(page)))
            removed += [digest for (digest, _), is_removed in zip(page, reply, strict=True) if is_removed]
        return removed

    async def replace(self, texts: Mapping[bytes, bytes], known: Version) -> bool:
        name = secrets.token_hex(8)  # another worker may replace them at the same time
        staged, old = self._key_beside(f"staged:{name}"), self._key_beside(f"old:{name}")
        for page in _in_pages(texts):
            arguments = [each for pair in page for each in pair]
            await run_script(self._redis, Call(_STAGE, [staged], [_STAGED, *arguments], 1))
        keys = [self._key, staged, old]
        (done,) = await run_script(self._redis, Call(_SWAP, keys, [*known, len(texts)], 1))
        if done < 0:
            raise StoreUnavailableError("Redis has lost overrides that were to be stored")
        return bool(done)

    async def restore(self, texts: Mapping[bytes, bytes]) -> None:
        lock = self._key_beside("restoring")
        if await self._redis.command("SET", lock, "1", "NX", "PX", _STAGED) is None:
            raise StoreUnavailableError("another worker stores again what Redis has lost")
        try:
            await self.replace(texts, NONE)
        finally:
            await self._redis.command("DEL", lock)

    def _key_beside(self, name: str) -> bytes:
        """A key in the slot of the overrides."""
        return b"%b:{%b}:%b" % (self._key, self._key, name.encode())

    async def touch(self) -> None:
        await self._redis.command("HINCRBY", self._key, "touches", 1)


def _is_digest(field: bytes) -> bool:
    return field not in _OWN and not field.startswith(b"change:")


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _in_pages(texts: Mapping[bytes, bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
    pairs = iter(texts.items())
    while page := list(islice(pairs, _PAGE)):
        yield page
