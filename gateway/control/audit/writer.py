"""`AuditWriter`: what changed, and who tried; no change is acknowledged before its line is on disk."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from gateway.auth.grant import Grant
from gateway.control.audit.chain import Entry, Link
from gateway.control.audit.log import AuditLog, AuditLogError
from gateway.control.http.problem import Problem
from gateway.redis.errors import StoreUnavailableError
from gateway.telemetry.log import Log

_RAISE = """\
if tonumber(redis.call('HGET', KEYS[1], 'sequence') or '0') < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'sequence', ARGV[1], 'hash', ARGV[2])
end
return 1
"""


class Commands(Protocol):
    """Runs plain commands in Redis; `gateway.redis.client.RedisClient` does."""

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one command.

        Raises:
            StoreUnavailableError: it may or may not have happened.
        """


class Head:
    """The end of each audit log, kept in Redis: what is cut off a file is missed there.

    Args:
        redis: Runs commands.
        prefix: What our keys start with.
    """

    def __init__(self, redis: Commands, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def raise_to(self, end: Link) -> None:
        """Note an end, unless a later one is noted.

        Raises:
            StoreUnavailableError: it may or may not have been noted.
        """
        await self._redis.command("EVAL", _RAISE, 1, self._key(end.log), end.sequence, end.hash)

    async def get(self, log: str) -> tuple[int, str] | None:
        """Sequence and hash of the last line of a log; None when none is known.

        Raises:
            StoreUnavailableError: there is no answer.
        """
        sequence, digest = await self._redis.command("HMGET", self._key(log), "sequence", "hash")
        return (int(sequence), bytes(digest).decode()) if sequence and digest else None

    def _key(self, log: str) -> str:
        return f"{self._prefix}:audit:{log}"


class Actor(NamedTuple):
    """Who does something, and from where."""

    subject: str
    jti: str = ""
    source: str = ""

    @classmethod
    def of(cls, grant: Grant | None, source: str) -> "Actor":
        """The bearer of a token, or nobody we know."""
        return cls(grant.subject, grant.id, source) if grant else cls("(unknown)", "", source)


class AuditWriter:
    """Writes lines, in a thread of its own.

    Args:
        ledger: Where to; None when no folder is set up for it, and then nothing can be changed.
        head: Where the end is noted besides; None with the memory store.
        rules: The revision in force.
        log: Is told what went wrong.
        count: Is told whether a line was ``written`` or ``failed``.
    """

    def __init__(
        self,
        ledger: AuditLog | None,
        head: Head | None,
        rules: Callable[[], str],
        log: Log,
        count: Callable[[Any], None],
    ) -> None:
        self._ledger = ledger
        self._head = head
        self._rules = rules
        self._log = log
        self._count = count
        self._thread = ThreadPoolExecutor(1, "audit")

    async def record(
        self, actor: Actor, action: str, target: str = "", *, before: Any = None, after: Any = None, reason: str = ""
    ) -> None:
        """Write a line; it is on disk when this returns.

        Raises:
            Problem: 503; it is not, so what it is about must not happen.
        """
        entry = Entry(action, target, actor.subject, actor.jti, actor.source, before, after, reason)
        if self._ledger is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway has no folder for its audit log")
        loop = asyncio.get_running_loop()
        try:
            # Shielded: whoever asked may leave, but a line that is being written is not left half counted.
            end = await asyncio.shield(loop.run_in_executor(self._thread, self._ledger.append, entry, self._rules()))
        except AuditLogError as error:
            self._count("failed")
            self._log.event("audit_failed", level="error", why=str(error))
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "this cannot be written to the audit log") from None
        self._count("written")
        await self._note(end)

    async def attempt(self, actor: Actor, target: str, reason: str) -> None:
        """Write that something was refused. A log that cannot be written makes the refusal no other."""
        if self._ledger is not None:
            try:
                await self.record(actor, "refused", target, reason=reason)
            except Problem:
                return

    async def _note(self, end: Link) -> None:
        if self._head is not None:
            try:
                await self._head.raise_to(end)
            except StoreUnavailableError as error:
                self._log.event("audit_head_failed", level="warning", why=str(error))

    async def page(self, after: int, most: int) -> list[dict[str, Any]]:
        """Lines behind a sequence.

        Raises:
            Problem: 503; they cannot be read.
        """
        if self._ledger is None:
            return []
        try:
            return await asyncio.to_thread(self._ledger.page, after, most)
        except AuditLogError as error:
            self._log.event("audit_failed", level="error", why=str(error))
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the audit log cannot be read") from None

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()
