"""`KnownOverrides`: all overrides as one worker knows them: as they are stored, and as the law applies them."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from gateway.control.overrides.model import OverrideRecord, RecordReader, target_of
from gateway.control.target import ATTRIBUTES
from gateway.limits.address import Network
from gateway.limits.holder import Holder
from gateway.limits.override import Override, Overrides

T = TypeVar("T")

_AT_A_TIME = 50
"""Overrides that are parsed before requests get their turn: a few milliseconds' work at most."""

NEVER = 2**63

ReportUnreadable = Callable[[bytes, Exception], object]


@dataclass(frozen=True, slots=True)
class KnownOverrides:
    """All overrides. A change makes another value of them.

    Attributes:
        texts: As they are stored, by the digests of their targets; also those that have expired and are still stored.
        in_force: Those that have not expired.
        expires_at: When the first of them expires, in microseconds since 1970.
        expired: The digests of those that have.
    """

    texts: Mapping[bytes, bytes] = field(default_factory=dict)
    in_force: Overrides = field(default_factory=Overrides)
    expires_at: int = NEVER
    expired: Collection[bytes] = ()

    async def replaced(self, texts: Mapping[bytes, bytes], now: int, report: ReportUnreadable) -> "KnownOverrides":
        """All overrides from their texts. Those that are known are not parsed again; see `changed`."""
        new = {digest: text for digest, text in texts.items() if self.texts.get(digest) != text}
        return await self.changed(new, self.texts.keys() - texts.keys(), now, report)

    async def changed(
        self, texts: Mapping[bytes, bytes], removed: Collection[bytes], now: int, report: ReportUnreadable
    ) -> "KnownOverrides":
        """These with others set and some removed. If one is unreadable, what is in force for its target stays.

        Args:
            texts: Those that are set, as they are stored.
            removed: The digests of those that are removed.
            now: Microseconds since 1970.
            report: Is told of unreadable ones.
        """
        whole = dict(self.texts)
        maps = _Maps.of(self.in_force)
        expired = set(self.expired)
        reader = RecordReader()
        for place, (digest, text) in enumerate([*((digest, b"") for digest in removed), *texts.items()]):
            if place % _AT_A_TIME == _AT_A_TIME - 1:
                await asyncio.sleep(0)
            record = _read(reader, digest, text, report)
            if text and record is None and digest in whole:
                whole[digest] = text
                continue
            maps.forget(digest, whole.pop(digest, None))
            expired.discard(digest)
            if text:
                whole[digest] = text
            if record is not None and record.override.expires_at <= now:
                expired.add(digest)
            elif record is not None:
                maps.put(digest, record)
        return _of(whole, maps.overrides(), expired)

    def at(self, now: int) -> "KnownOverrides":
        """These at an instant: others may have expired."""
        if now < self.expires_at:
            return self
        before = self.in_force
        users, networks = _lasting(before.users, now), _lasting(before.networks, now)
        attributes = {holder: _lasting(some, now) for holder, some in before.attributes.items()}
        expired = set(self.expired) | (before.users.keys() - users.keys())
        for holder, some in before.attributes.items():
            expired |= some.keys() - attributes[holder].keys()
        gone = before.networks.keys() - networks.keys()
        if gone:
            expired |= {digest for digest, text in self.texts.items() if _network(text) in gone}
        return _of(self.texts, Overrides(users, networks, _without_empty(attributes)), expired)

    def without(self, digests: Collection[bytes]) -> "KnownOverrides":
        """These without some that have expired."""
        texts = dict(self.texts)
        for digest in digests:
            texts.pop(digest, None)
        return _of(texts, self.in_force, [each for each in self.expired if each not in digests])


def _of(texts: Mapping[bytes, bytes], in_force: Overrides, expired: Collection[bytes]) -> KnownOverrides:
    by_attribute = (some.values() for some in in_force.attributes.values())
    every = chain(in_force.users.values(), in_force.networks.values(), *by_attribute)
    ends = min((each.expires_at for each in every), default=NEVER)
    return KnownOverrides(texts, in_force, ends, tuple(expired))


def _lasting(some: Mapping[T, Override], now: int) -> dict[T, Override]:
    return {name: each for name, each in some.items() if each.expires_at > now}


def _without_empty(attributes: Mapping[Holder, Mapping[bytes, Override]]) -> dict[Holder, Mapping[bytes, Override]]:
    return {holder: some for holder, some in attributes.items() if some}


class _Maps:
    """`Overrides` that change."""

    def __init__(
        self,
        users: dict[bytes, Override],
        networks: dict[Network, Override],
        attributes: dict[Holder, dict[bytes, Override]],
    ) -> None:
        self._users = users
        self._networks = networks
        self._attributes = attributes

    @classmethod
    def of(cls, known: Overrides) -> "_Maps":
        attributes = {holder: dict(by_digest) for holder, by_digest in known.attributes.items()}
        return cls(dict(known.users), dict(known.networks), attributes)

    def overrides(self) -> Overrides:
        return Overrides(self._users, self._networks, _without_empty(self._attributes))

    def put(self, digest: bytes, record: OverrideRecord) -> None:
        clients = record.target.clients
        if clients is not None:
            self._networks[clients] = record.override
        elif record.target.kind == ATTRIBUTES:
            self._attributes.setdefault(record.target.holder, {})[digest] = record.override
        else:
            self._users[digest] = record.override

    def forget(self, digest: bytes, text: bytes | None) -> None:
        for by_digest in (self._users, *self._attributes.values()):
            by_digest.pop(digest, None)
        clients = _network(text) if text else None
        if clients is not None:
            self._networks.pop(clients, None)


def _read(reader: RecordReader, digest: bytes, text: bytes, report: ReportUnreadable) -> OverrideRecord | None:
    """A record; None if there is none, or it is unreadable."""
    try:
        return reader.read(text) if text else None
    except Exception as error:  # noqa: BLE001 - it must not keep the others from being in force
        report(digest, error)
        return None


def _network(text: bytes) -> Network | None:
    """Whose a stored override is, if it is of addresses."""
    try:
        return target_of(text).clients
    except ValueError:
        return None
