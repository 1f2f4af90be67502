"""`OverrideSync`: keeps those in force up to date, in this worker, with what is kept for all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from gateway.control.audit.writer import Actor, AuditWriter
from gateway.control.http.problem import Problem
from gateway.control.overrides.file import OverrideFile
from gateway.control.overrides.model import OverrideRecord, restore
from gateway.control.overrides.store import UNKNOWN, OverrideStore, Snapshot
from gateway.control.timestamps import now
from gateway.limiter.limiter import Limiter
from gateway.limits.rules import RuleBook
from gateway.redis.cancellation import cancel_and_wait
from gateway.redis.errors import StoreUnavailableError
from gateway.telemetry.log import Log

POLL = 0.25
"""Seconds between two looks at what is kept: a change is in force everywhere well within one second."""

_GATEWAY = Actor("(gateway)")


class OverrideSync:
    """The overrides in force.

    While they cannot be loaded, those last known stay, also through a restart. If all that was kept is lost, what is
    known is kept again; but what was only known before a restart is not: it may have been removed meanwhile.

    Attributes:
        records: Those last known, by the digests of users.

    Args:
        register: Where they are kept; None when nowhere, and then there are none.
        copy: Where those last known outlive this process; None when nowhere, or when the register itself does.
        book: Where they take effect.
        limiter: Is told to ask afresh about buckets.
        audit: Is told of each change.
        log: Is told what went wrong.
    """

    def __init__(
        self,
        register: OverrideStore | None,
        copy: OverrideFile | None,
        book: RuleBook,
        limiter: Limiter,
        audit: AuditWriter,
        log: Log,
    ) -> None:
        self._register = register
        self._copy = copy
        self._book = book
        self._limiter = limiter
        self._audit = audit
        self._log = log
        self._known = Snapshot(UNKNOWN, {})
        self._away = False
        self._turn = asyncio.Lock()
        self.records: dict[str, OverrideRecord] = {}

    @asynccontextmanager
    async def kept_up(self) -> AsyncIterator[None]:
        """Load them, and keep them up to date while the block runs."""
        await self._recall()
        await self._look()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            await self._look()

    async def _recall(self) -> None:
        """Begin with what was last known. It counts until what is kept can be loaded, and for nothing else."""
        if self._copy is not None:
            try:
                self.records = self._restored(await asyncio.to_thread(self._copy.read))
            except (OSError, ValueError) as error:
                self._log.event("overrides_copy_unreadable", level="error", why=f"{self._copy.file}: {error}")

    async def _remember(self) -> None:
        """Write down what is known, unless another worker has.

        One that writes what is no longer so, because it was slow, finds that out with its next look and writes again.
        """
        if self._copy is not None:
            try:
                await asyncio.to_thread(_renew, self._copy, self._known.texts)
            except OSError as error:
                self._log.event("overrides_copy_failed", level="error", why=f"{self._copy.file}: {error.strerror}")

    async def _look(self) -> None:
        """Load what has changed, and end what is over. Never fails."""
        try:
            async with self._turn:
                await self._load()
                self._away = False
                await self._expire()
        except StoreUnavailableError as why:
            self._apply()
            if not self._away:
                self._away = True
                self._log.event("overrides_away", level="warning", why=str(why))
        except Problem as problem:
            self._log.event("override_expiry_unaudited", level="error", why=problem.detail)
        except Exception as error:  # noqa: BLE001 - the next look may succeed, and without looks nothing ever changes
            self._apply()
            if not self._away:
                self._away = True
                self._log.failure("overrides_failed", error)

    async def _load(self) -> None:
        if self._register is None:
            return
        found = await self._register.load(self._known.version)
        if found is None:
            self._apply()
            return
        if not found.version and self._known.texts:
            await self._register.bring_back(self._known)
            return
        self._known, self.records = found, self._restored(found.texts)
        self._apply()
        self._limiter.forget()
        await self._remember()

    def _restored(self, texts: Mapping[str, str]) -> dict[str, OverrideRecord]:
        """The records in texts. In the place of one that cannot be read stays what was known of its user."""
        records = {}
        for digest, text in texts.items():
            try:
                records[digest] = restore(text)
            except Exception as error:  # noqa: BLE001 - it must not keep the others from being in force
                self._log.failure("override_unreadable", error, user=digest)
                if digest in self.records:
                    records[digest] = self.records[digest]
        return records

    def _apply(self) -> None:
        """Put those that are not over in force."""
        instant = now()
        current = {
            digest.encode(): record.override
            for digest, record in self.records.items()
            if record.override.expires_at > instant
        }
        if current != self._book.current.overrides:
            self._book.current = self._book.current.with_overrides(current)

    async def _expire(self) -> None:
        instant = now()
        for digest, record in list(self.records.items()):
            if record.override.expires_at <= instant and self._register is not None:
                mine = await self._register.remove(digest, self._known.texts[digest])
                del self.records[digest]
                if mine:
                    await self._audit.record(_GATEWAY, "override.expired", f"user {digest}", before=record.change())

    async def put(self, digest: str, record: OverrideRecord, actor: Actor) -> bool:
        """Set a user's override. Returns whether there was none.

        Raises:
            Problem: 503; nothing has changed.
        """

        async def store(register: OverrideStore) -> None:
            await register.put(digest, record.text())

        before = await self._change("override.set", digest, actor, store, record)
        return before is None

    async def remove(self, digest: str, actor: Actor) -> None:
        """Remove a user's override.

        Raises:
            Problem: 404 when there is none; 503, and nothing has changed.
        """

        async def store(register: OverrideStore) -> None:
            await register.remove(digest, self._known.texts[digest])

        await self._change("override.removed", digest, actor, store, None)

    async def _change(
        self,
        action: str,
        digest: str,
        actor: Actor,
        store: Callable[[OverrideStore], Awaitable[None]],
        after: OverrideRecord | None,
    ) -> OverrideRecord | None:
        target = f"user {digest}"
        reason = after.override.reason if after else ""
        async with self._turn:
            try:
                await self._load()
                before = self.records.get(digest)
                if before is None and after is None:
                    raise Problem(HTTPStatus.NOT_FOUND, "this user has no override")
                change = after.change() if after else None
                told = before.change() if before else None
                await self._audit.record(actor, action, target, before=told, after=change, reason=reason)
                if self._register is not None:  # without a place for it there is none for the audit log either
                    await store(self._register)
            except StoreUnavailableError as why:
                self._log.event("overrides_away", level="warning", why=str(why))
                await self._audit.attempt(actor, f"{action} {target}", "what is kept could not be changed")
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "overrides cannot be stored at present") from None
        await self._look()
        return before

    async def tell_all(self) -> None:
        """Have every worker ask afresh about buckets.

        Raises:
            StoreUnavailableError: they may not have heard.
        """
        if self._register is not None:
            await self._register.touch()


def _renew(copy: OverrideFile, texts: Mapping[str, str]) -> None:
    with suppress(ValueError):  # what is damaged is replaced
        if copy.read() == texts:
            return
    copy.write(texts)
