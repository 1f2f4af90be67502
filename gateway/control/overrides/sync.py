"""`OverrideSync`: keeps the overrides in force in this worker the same as the stored ones."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from gateway.auth.grant import Actor
from gateway.auth.timestamps import now
from gateway.control.audit.writer import AuditWriter
from gateway.control.errors import AuditUnavailableError, NoOverrideError, OverridesUnavailableError
from gateway.control.overrides.file import OverrideFile
from gateway.control.overrides.model import OverrideRecord, parse_record
from gateway.control.overrides.store import UNKNOWN, OverrideStore, StoredOverrides
from gateway.control.target import Target
from gateway.limiter.limiter import Limiter
from gateway.limits.address import Network
from gateway.limits.override import Override, Overrides
from gateway.limits.rules import RuleBook
from gateway.redis.client import Reply
from gateway.redis.errors import StoreUnavailableError
from gateway.telemetry.log import Log

_GATEWAY = Actor("(gateway)")


class OverrideSync:
    """The overrides in force.

    While they cannot be loaded, those last known stay in force, also after a restart. If Redis has lost them, those
    that this worker loaded are stored again; but not those that are only known from the copy: they may have been
    removed since it was written.

    Attributes:
        records: The overrides last known, by the digests of their targets.

    Args:
        store: Where they are stored; None if nowhere, and then there are none.
        copy: Keeps those last known beyond this process; None if nothing does, or the store itself.
        book: Where they take effect.
        limiter: Forgets what it knows of buckets when overrides change.
        audit: Records each change.
        log: Of this process.
    """

    def __init__(
        self,
        store: OverrideStore | None,
        copy: OverrideFile | None,
        book: RuleBook,
        limiter: Limiter,
        audit: AuditWriter,
        log: Log,
    ) -> None:
        self._store = store
        self._copy = copy
        self._book = book
        self._limiter = limiter
        self._audit = audit
        self._log = log
        self._known = StoredOverrides(UNKNOWN, {})
        self._is_unavailable = False
        self._lock = asyncio.Lock()
        self.records: dict[str, OverrideRecord] = {}

    async def start(self) -> None:
        """Begin with the copy, which counts until the stored overrides can be loaded; then load those."""
        if self._copy is not None:
            try:
                self.records = self._parse(await asyncio.to_thread(self._copy.read))
            except (OSError, ValueError) as error:
                self._log.event("overrides_copy_unreadable", level="error", why=f"{self._copy.file}: {error}")
        await self.refresh()

    async def refresh(self, version: Reply | None = None) -> None:
        """Load the stored overrides if they have changed, and remove those that have expired. Never raises.

        Args:
            version: What the store's poll returned, or why it returned nothing; None to ask the store.
        """
        if isinstance(version, StoreUnavailableError):
            self._unavailable(version)
            return
        try:
            async with self._lock:
                if version is None or version[0] != self._known.version:
                    await self._load()
                else:
                    self._apply()
                self._is_unavailable = False
                await self._expire()
        except StoreUnavailableError as why:
            self._unavailable(why)
        except AuditUnavailableError as error:
            self._log.event("override_expiry_unaudited", level="error", why=str(error))
        except Exception as error:  # noqa: BLE001 - the next refresh may succeed; without any, nothing ever changes
            self._apply()
            if not self._is_unavailable:
                self._is_unavailable = True
                self._log.failure("overrides_failed", error)

    def _unavailable(self, why: StoreUnavailableError) -> None:
        """Go on with those last known. It is logged once, until the store is available again."""
        self._apply()
        if not self._is_unavailable:
            self._is_unavailable = True
            self._log.event("overrides_unavailable", level="warning", why=str(why))

    async def _load(self) -> None:
        if self._store is None:
            return
        stored = await self._store.load(self._known.version)
        if stored is None:
            self._apply()
            return
        if not stored.version and self._known.texts:
            await self._store.restore(self._known)
            return
        self._known, self.records = stored, self._parse(stored.texts)
        self._apply()
        self._limiter.forget()
        await self._write_copy()

    async def _write_copy(self) -> None:
        """Write the copy, unless another worker has.

        A slow worker may write what has changed since; with its next refresh it loads the change and writes again.
        """
        if self._copy is not None:
            try:
                await asyncio.to_thread(_update, self._copy, self._known.texts)
            except OSError as error:
                self._log.event("overrides_copy_failed", level="error", why=f"{self._copy.file}: {error.strerror}")

    def _parse(self, texts: Mapping[str, str]) -> dict[str, OverrideRecord]:
        """The records in texts. If one is unreadable, what was known of its target stays."""
        records = {}
        for digest, text in texts.items():
            try:
                records[digest] = parse_record(text)
            except Exception as error:  # noqa: BLE001 - it must not keep the others from being in force
                self._log.failure("override_unreadable", error, user=digest)
                if digest in self.records:
                    records[digest] = self.records[digest]
        return records

    def _apply(self) -> None:
        """Apply those that have not expired."""
        instant = now()
        users, networks = dict[bytes, Override](), dict[Network, Override]()
        for digest, record in self.records.items():
            if record.override.expires_at > instant:
                clients = record.target.clients
                if clients is None:
                    users[digest.encode()] = record.override
                else:
                    networks[clients] = record.override
        current = Overrides(users, networks)
        if current != self._book.current.overrides:
            self._book.current = self._book.current.with_overrides(current)

    async def _expire(self) -> None:
        instant = now()
        for digest, record in list(self.records.items()):
            if record.override.expires_at <= instant and self._store is not None:
                is_removed = await self._store.remove(digest, self._known.texts[digest])
                del self.records[digest]
                if is_removed:  # by this worker, and not by another
                    target = f"{record.target.kind} {digest}"
                    await self._audit.record(_GATEWAY, "override.expired", target, before=record.change())

    async def put(self, digest: str, record: OverrideRecord, actor: Actor) -> bool:
        """Set an override. Returns whether there was none.

        Raises:
            AuditUnavailableError: it cannot be recorded, so nothing has changed.
            OverridesUnavailableError: it cannot be stored.
        """
        return await self._change("override.set", digest, record.target, actor, record) is None

    async def remove(self, digest: str, target: Target, actor: Actor) -> None:
        """Remove an override.

        Raises:
            NoOverrideError: there is none.
            AuditUnavailableError: it cannot be recorded, so nothing has changed.
            OverridesUnavailableError: it cannot be removed from the store.
        """
        await self._change("override.removed", digest, target, actor, None)

    async def _change(
        self, action: str, digest: str, target: Target, actor: Actor, after: OverrideRecord | None
    ) -> OverrideRecord | None:
        """Record and make a change. Returns the override before it."""
        audited = f"{target.kind} {digest}"
        async with self._lock:
            try:
                await self._load()
                before = self.records.get(digest)
                if before is None and after is None:
                    raise NoOverrideError(f"this {target.kind} has no override")
                old, new = before and before.change(), after and after.change()
                reason = after.override.reason if after else ""
                await self._audit.record(actor, action, audited, before=old, after=new, reason=reason)
                if self._store is not None:  # without a store there is no audit log either
                    if after is None:
                        await self._store.remove(digest, self._known.texts[digest])
                    else:
                        await self._store.put(digest, after.text())
            except StoreUnavailableError as why:
                self._log.event("overrides_unavailable", level="warning", why=str(why))
                await self._audit.record_refusal(actor, f"{action} {audited}", "overrides cannot be stored")
                raise OverridesUnavailableError("overrides cannot be stored at present; try again later") from None
        await self.refresh()
        return before

    async def touch(self) -> None:
        """Have every worker ask Redis again about all buckets.

        Raises:
            StoreUnavailableError: they may not do so.
        """
        if self._store is not None:
            await self._store.touch()


def _update(copy: OverrideFile, texts: Mapping[str, str]) -> None:
    with suppress(ValueError):  # a damaged copy is replaced
        if copy.read() == texts:
            return
    copy.write(texts)
