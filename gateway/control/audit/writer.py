"""`AuditWriter`: records what changed, and who tried; no change is acknowledged before its line is on disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway.auth.grant import Actor
from gateway.control.audit.entry import Entry, Link
from gateway.control.audit.log_file import AuditLog, AuditLogError
from gateway.control.errors import AuditUnavailableError
from gateway.redis.client import RedisClient, run_script
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, Script
from gateway.telemetry.log import Log

_ADVANCE = Script.of("advance.lua", package=__package__)


class Head:
    """The end of each audit log, kept in Redis too: there, lines that are cut off the end of the file are missed.

    Args:
        redis: Where it is kept.
        prefix: Of our keys.
    """

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def advance(self, end: Link) -> None:
        """Note an end, unless a later one is noted.

        Raises:
            StoreUnavailableError: it may or may not have been noted.
        """
        await run_script(self._redis, Call(_ADVANCE, [self._key(end.log).encode()], [end.sequence, end.hash], 1))

    async def get(self, log: str) -> tuple[int, str] | None:
        """Sequence and hash of the last line of a log; None if none is known.

        Raises:
            StoreUnavailableError: it could not be read.
        """
        sequence, digest = await self._redis.command("HMGET", self._key(log), "sequence", "hash")
        return (int(sequence), bytes(digest).decode()) if sequence and digest else None

    def _key(self, log: str) -> str:
        return f"{self._prefix}:audit:{log}"


class AuditWriter:
    """Writes lines to the audit log, in a thread of its own.

    Args:
        audit_log: The log; None without a folder for it, and then nothing can be changed.
        head: Where its end is noted too; None with the memory store.
        revision: Returns the revision of the rules in force.
        log: Of this process.
        count: Counts whether a line was ``written`` or ``failed``.
    """

    def __init__(
        self,
        audit_log: AuditLog | None,
        head: Head | None,
        revision: Callable[[], str],
        log: Log,
        count: Callable[[Any], None],
    ) -> None:
        self._audit_log = audit_log
        self._head = head
        self._revision = revision
        self._log = log
        self._count = count
        self._thread = ThreadPoolExecutor(1, "audit")

    async def record(
        self,
        actor: Actor,
        action: str,
        target: str = "",
        *,
        before: Any = None,
        after: Any = None,
        reason: str = "",
        or_log: bool = False,
    ) -> None:
        """Write a line; it is on disk when this returns.

        With `or_log`, a line in the log will do if there is no folder for an audit log.

        Raises:
            AuditUnavailableError: it is not, so what it is about must not happen.
        """
        entry = Entry(action, target, actor.subject, actor.jti, actor.source, before, after, reason)
        if self._audit_log is None and or_log:
            self._log.event(
                "audited",
                action=action,
                target=target,
                subject=actor.subject,
                source=actor.source,
                before=before,
                after=after,
            )
            return
        if self._audit_log is None:
            raise AuditUnavailableError("there is no audit log, so nothing can be changed: set control.state")
        loop = asyncio.get_running_loop()
        try:
            # Shielded: a caller may disconnect, but a line that is being written is counted all the same.
            write = loop.run_in_executor(self._thread, self._audit_log.append, entry, self._revision())
            end = await asyncio.shield(write)
        except AuditLogError as error:
            self._count("failed")
            self._log.event("audit_failed", level="error", why=str(error))
            raise AuditUnavailableError("the audit log cannot be written, so nothing was changed") from None
        self._count("written")
        await self._advance_head(end)

    async def record_refusal(self, actor: Actor, target: str, reason: str) -> None:
        """Write that something was refused. It stays refused if that cannot be written."""
        if self._audit_log is not None:
            try:
                await self.record(actor, "refused", target, reason=reason)
            except AuditUnavailableError:
                return

    async def _advance_head(self, end: Link) -> None:
        if self._head is not None:
            try:
                await self._head.advance(end)
            except StoreUnavailableError as error:
                self._log.event("audit_head_failed", level="warning", why=str(error))

    async def page(self, after: int, most: int) -> list[dict[str, Any]]:
        """Up to `most` lines after a sequence.

        Raises:
            AuditUnavailableError: they cannot be read.
        """
        if self._audit_log is None:
            return []
        try:
            return await asyncio.to_thread(self._audit_log.page, after, most)
        except AuditLogError as error:
            self._log.event("audit_failed", level="error", why=str(error))
            raise AuditUnavailableError("the audit log cannot be read") from None

    def close(self) -> None:
        """Wait for the lines that are being written."""
        self._thread.shutdown()
