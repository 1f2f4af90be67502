"""`KnownOverrides`: all overrides as one worker knows them: as they are stored, and as the law applies them."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from gateway.control.overrides.model import OverrideRecord, RecordReader, target_of
from gateway.limits.address import Network
from gateway.limits.override import Override, Overrides

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
        users, networks = dict(self.in_force.users), dict(self.in_force.networks)
        expired = set(self.expired)
        reader = RecordReader()
        for place, (digest, text) in enumerate([*((digest, b"") for digest in removed), *texts.items()]):
            if place % _AT_A_TIME == _AT_A_TIME - 1:
                await asyncio.sleep(0)
            record = _read(reader, digest, text, report)
            if text and record is None and digest in whole:
                whole[digest] = text
                continue
            _forget(digest, whole.pop(digest, None), users, networks)
            expired.discard(digest)
            if text:
                whole[digest] = text
            if record is not None and record.override.expires_at <= now:
                expired.add(digest)
            elif record is not None:
                _put(digest, record, users, networks)
        return _of(whole, users, networks, expired)

    def at(self, now: int) -> "KnownOverrides":
        """These at an instant: others may have expired."""
        if now < self.expires_at:
            return self
        users = {digest: each for digest, each in self.in_force.users.items() if each.expires_at > now}
        networks = {network: each for network, each in self.in_force.networks.items() if each.expires_at > now}
        expired = set(self.expired) | (self.in_force.users.keys() - users.keys())
        gone = self.in_force.networks.keys() - networks.keys()
        if gone:
            expired |= {digest for digest, text in self.texts.items() if _network(text) in gone}
        return _of(self.texts, users, networks, expired)

    def without(self, digests: Collection[bytes]) -> "KnownOverrides":
        """These without some that have expired."""
        texts = dict(self.texts)
        for digest in digests:
            texts.pop(digest, None)
        return _of(
            texts, self.in_force.users, self.in_force.networks, [each for each in self.expired if each not in digests]
        )


def _of(
    texts: Mapping[bytes, bytes],
    users: Mapping[bytes, Override],
    networks: Mapping[Network, Override],
    expired: Collection[bytes],
) -> KnownOverrides:
    ends = [min((each.expires_at for each in some.values()), default=NEVER) for some in (users, networks)]
    return KnownOverrides(texts, Overrides(users, networks), min(ends), tuple(expired))


def _read(reader: RecordReader, digest: bytes, text: bytes, report: ReportUnreadable) -> OverrideRecord | None:
    """A record; None if there is none, or it is unreadable."""
    try:
        return reader.read(text) if text else None
    except Exception as error:  # noqa: BLE001 - it must not keep the others from being in force
        report(digest, error)
        return None


def _put(
    digest: bytes, record: OverrideRecord, users: dict[bytes, Override], networks: dict[Network, Override]
) -> None:
    clients = record.target.clients
    if clients is None:
        users[digest] = record.override
    else:
        networks[clients] = record.override


def _forget(digest: bytes, text: bytes | None, users: dict[bytes, Override], networks: dict[Network, Override]) -> None:
    users.pop(digest, None)
    clients = _network(text) if text else None
    if clients is not None:
        networks.pop(clients, None)


def _network(text: bytes) -> Network | None:
    """Whose a stored override is, if it is of addresses."""
    try:
        return target_of(text).clients
    except ValueError:
        return None
