"""`OverrideSync`: keeps the overrides in force in this worker the same as the stored ones."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gateway.auth.grant import Actor
from gateway.auth.timestamps import now
from gateway.control.audit.writer import AuditWriter
from gateway.control.errors import (
    AuditUnavailableError,
    ConflictError,
    NoOverrideError,
    OverridesUnavailableError,
)
from gateway.control.overrides.file import OverrideFile
from gateway.control.overrides.known import KnownOverrides
from gateway.control.overrides.model import OverrideRecord, parse_record
from gateway.control.overrides.store import NONE, UNKNOWN, OverrideStore, Version
from gateway.control.target import Target
from gateway.limiter.limiter import Limiter
from gateway.limits.rules import RuleBook
from gateway.redis.client import Reply
from gateway.redis.errors import StoreUnavailableError
from gateway.telemetry.log import Log

_GATEWAY = Actor("(gateway)")

_FEW = 20
"""Overrides that expire at the same time and are recorded one by one; of more, the number is recorded."""


class OverrideSync:
    """The overrides in force.

    While they cannot be loaded, those last known stay in force, also after a restart. If Redis has lost them, those
    that this worker loaded are stored again; but not those that are only known from the copy: they may have been
    removed since it was written.

    Attributes:
        known: The overrides last known.
        version: Their version; `UNKNOWN` if they are from the copy.

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
        self._copied = UNKNOWN
        self._touches: int | None = None
        self._is_unavailable = False
        self._lock = asyncio.Lock()
        self._copying = asyncio.Lock()
        self.version = UNKNOWN
        self.known = KnownOverrides()

    async def start(self) -> None:
        """Load the stored overrides. If they cannot be loaded, begin with the copy, which counts until they can."""
        await self._refresh()
        if self.version == UNKNOWN and self._copy is not None:
            try:
                texts = await asyncio.to_thread(self._copy.read)
                self._apply(await self.known.replaced(texts, now(), self._report_unreadable))
            except (OSError, ValueError) as error:
                self._log.event("overrides_copy_unreadable", level="error", why=f"{self._copy.file}: {error}")
        await self._write_copy()

    async def hear(self, reply: Reply | None) -> None:
        """Load the stored overrides if they have changed, and remove those that have expired. Never raises.

        Args:
            reply: What the store's poll returned, or why it returned nothing; None if there is nothing to poll.
        """
        if isinstance(reply, StoreUnavailableError):
            self._note_unavailable(reply)
            self._apply(self.known.at(now()))
            return
        if reply is None:
            await self._refresh()
            return
        generation, number, touches = reply
        if self._touches not in {None, touches}:
            self._limiter.forget()
        self._touches = touches
        await self._refresh(Version(generation, number))
        await self._write_copy()

    async def _refresh(self, stored: Version | None = None) -> None:
        """Load what has changed, unless the version that is stored is known. Never raises."""
        try:
            async with self._lock:
                if stored is None or stored != self.version:
                    await self._load()
                self._is_unavailable = False
                await self._expire()
        except StoreUnavailableError as why:
            self._note_unavailable(why)
        except AuditUnavailableError as error:
            self._log.event("override_expiry_unaudited", level="error", why=str(error))
        except Exception as error:  # noqa: BLE001 - the next refresh may succeed; without any, nothing ever changes
            if not self._is_unavailable:
                self._is_unavailable = True
                self._log.failure("overrides_failed", error)
        self._apply(self.known.at(now()))

    def _note_unavailable(self, why: StoreUnavailableError) -> None:
        """Go on with those last known. It is logged once, until the store is available again."""
        if not self._is_unavailable:
            self._is_unavailable = True
            self._log.event("overrides_unavailable", level="warning", why=str(why))

    async def _load(self) -> None:
        if self._store is None:
            return
        stored = await self._store.load(self.version)
        if stored is None:
            return
        if stored.version == NONE and self.version not in {UNKNOWN, NONE} and self.known.texts:
            await self._store.restore(self.known.texts)
            stored = await self._store.load(self.version)
            assert stored is not None  # noqa: S101 - what is restored is another generation
        instant, report = now(), self._report_unreadable
        if stored.is_whole:
            known = await self.known.replaced(stored.texts, instant, report)
        else:
            known = await self.known.changed(stored.texts, stored.removed, instant, report)
        self.version = stored.version
        self._apply(known)

    def _report_unreadable(self, digest: bytes, error: Exception) -> None:
        self._log.failure("override_unreadable", error, user=digest.decode())

    def _apply(self, known: KnownOverrides) -> None:
        """Have these in force."""
        is_other = known.in_force is not self.known.in_force
        self.known = known
        if is_other:
            self._book.current = self._book.current.with_overrides(known.in_force)
            self._limiter.forget()

    async def _write_copy(self) -> None:
        """Write the copy, unless it is written, by this worker or another.

        A slow worker may write what has changed since; with its next refresh it loads the change and writes again.
        """
        async with self._copying:
            version, texts = self.version, self.known.texts
            if self._copy is None or version in {UNKNOWN, self._copied}:
                return
            self._copied = version  # if it fails, it is tried again with the next change
            try:
                if await asyncio.to_thread(self._copy.version) != version:
                    await asyncio.to_thread(self._copy.write, version, texts)
            except OSError as error:
                self._log.event("overrides_copy_failed", level="error", why=f"{self._copy.file}: {error.strerror}")

    async def _expire(self) -> None:
        """Remove those that have expired from the store, and record it unless another worker has removed them."""
        self._apply(self.known.at(now()))
        if not self.known.expired or self._store is None:
            return
        expired = {digest: self.known.texts[digest] for digest in self.known.expired}
        removed = await self._store.remove(expired)
        self._apply(self.known.without(expired))
        if len(removed) > _FEW:
            await self._audit.record(_GATEWAY, "overrides.expired", before={"overrides": len(removed)})
            return
        for digest in removed:
            record = parse_record(expired[digest])
            target = f"{record.target.kind} {digest.decode()}"
            await self._audit.record(_GATEWAY, "override.expired", target, before=record.change())

    def find(self, digest: str) -> OverrideRecord | None:
        """The override with this digest of its target; None if there is none, or it is unreadable."""
        text = self.known.texts.get(digest.encode())
        try:
            return None if text is None else parse_record(text)
        except ValueError:
            return None

    async def put(self, digest: str, record: OverrideRecord, actor: Actor) -> bool:
        """Set an override. Returns whether there was none.

        Raises:
            AuditUnavailableError: it cannot be recorded, so nothing has changed.
            OverridesUnavailableError: it cannot be stored.
        """
        return not await self._change("override.set", digest, record.target, actor, record)

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
    ) -> bool:
        """Record and make a change. Returns whether there was an override before it."""
        audited, name = f"{target.kind} {digest}", digest.encode()
        async with self._storing(f"{action} {audited}", actor):
            await self._load()
            known, before = self.known.texts.get(name), self.find(digest)
            if known is None and after is None:
                raise NoOverrideError(f"this {target.kind} has no override")
            old, new = before and before.change(), after and after.change()
            reason = after.override.reason if after else ""
            await self._audit.record(actor, action, audited, before=old, after=new, reason=reason)
            if self._store is not None:  # without a store there is no audit log either
                if after is not None:
                    await self._store.put(name, after.text())
                elif known is not None:
                    await self._store.remove({name: known})
        await self._refresh()
        await self._write_copy()
        return known is not None

    async def current(self) -> tuple[Version, Mapping[bytes, bytes]]:
        """The stored overrides and their version, as of now.

        Raises:
            OverridesUnavailableError: they cannot be loaded.
        """
        async with self._lock:
            try:
                await self._load()
            except StoreUnavailableError:
                raise OverridesUnavailableError("overrides cannot be loaded at present; try again later") from None
            return self.version, self.known.texts

    async def replace(
        self, texts: Mapping[bytes, bytes], since: Version, actor: Actor, summary: Mapping[str, Any]
    ) -> None:
        """Replace all overrides in one step.

        Args:
            texts: The new ones, as they are stored, by the digests of their targets.
            since: The version of those that they replace.
            actor: Who replaces them.
            summary: What is recorded of it.

        Raises:
            ConflictError: the stored ones are of another version by now. Nothing has changed.
            AuditUnavailableError: it cannot be recorded, so nothing has changed.
            OverridesUnavailableError: they cannot be stored.
        """
        action = "overrides.applied"
        async with self._storing(action, actor):
            await self._load()
            is_done = self.version == since
            if is_done:
                before = {"overrides": len(self.known.texts)}
                await self._audit.record(actor, action, before=before, after=summary)
                is_done = self._store is None or await self._store.replace(texts, since)
                if not is_done:
                    await self._audit.record_refusal(actor, action, "other overrides were set meanwhile")
        if not is_done:
            raise ConflictError("overrides were changed by somebody else meanwhile; nothing was changed; try again")
        await self._refresh()
        await self._write_copy()

    @asynccontextmanager
    async def _storing(self, what: str, actor: Actor) -> AsyncIterator[None]:
        """Hold the lock; that something cannot be stored is logged and recorded."""
        async with self._lock:
            try:
                yield
            except StoreUnavailableError as why:
                self._log.event("overrides_unavailable", level="warning", why=str(why))
                await self._audit.record_refusal(actor, what, "overrides cannot be stored")
                raise OverridesUnavailableError("overrides cannot be stored at present; try again later") from None

    async def touch(self) -> None:
        """Have every worker ask Redis again about all buckets.

        Raises:
            StoreUnavailableError: they may not do so.
        """
        if self._store is not None:
            await self._store.touch()
