"""`Reloader`: reads the rule files again, and puts them in force in every worker of this gateway or in none.

1. The files are copied once, and read (`snapshot`). If anything is wrong with them, that is said, and nothing changes.
2. Every worker reads the copy, and says so (prepare).
3. The change is written to the audit log.
4. The copy is noted as in force, for workers that start later; then every worker switches (commit), which is one
   assignment: a request reads the rules in force once, so none is decided by half-old rules.

Buckets are not touched. What was spent stays spent: a bucket's debt is converted when it is next charged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

from gateway.config.problem import ConfigError
from gateway.control.audit.writer import Actor, AuditWriter
from gateway.control.http.problem import Problem
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.workers import Message, Workers, WorkerUnresponsiveError
from gateway.limiter.limiter import Limiter
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.rules_diff import diff_rules
from gateway.telemetry.log import Log


class Told(NamedTuple):
    """Whom a reloader tells what it did.

    Attributes:
        outcome: Gets ``applied`` or ``rejected``.
        rules: Gets the rules that are in force from now on.
    """

    outcome: Callable[[Any], None]
    rules: Callable[[Rules], None]


class Reloader:
    """Reloads rules.

    Args:
        snapshots: The rule files.
        siblings: The other workers.
        book: The rules in force.
        limiter: Is told to ask afresh about buckets.
        audit: Is told what changed.
        log: Is told what went wrong.
        told: Metrics.
        since: When the gateway started.

    Attributes:
        since: When the rules in force were put in force, in ISO 8601.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        siblings: Workers,
        book: RuleBook,
        limiter: Limiter,
        audit: AuditWriter,
        log: Log,
        told: Told,
        since: str,
    ) -> None:
        self._snapshots = snapshots
        self._siblings = siblings
        self._book = book
        self._limiter = limiter
        self._audit = audit
        self._log = log
        self._told = told
        self.since = since
        self._prepared: dict[str, Rules] = {}

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Put in force what the other workers have in force, and follow them while the block runs."""
        async with self._siblings.listening(self._answer):
            found = self._snapshots.in_force()
            if found is not None:
                await self._commit(*found)
            yield

    async def reload(self, actor: Actor, *, dry_run: bool = False) -> dict[str, Any]:
        """Reload. Returns the revision, the one before, and what changed.

        Args:
            actor: Who wants it.
            dry_run: Only say what would change.

        Raises:
            Problem: 422 when the files cannot be used, with all that is wrong; 503 when it cannot be done at present.
                The rules in force stay; but for a worker that fails when all have agreed, which the 503 says.
        """
        async with self._siblings.turn():
            try:
                return await self._reload(actor, dry_run=dry_run)
            except ConfigError as error:
                self._told.outcome("rejected")
                self._log.event("reload_rejected", level="error", problems=[str(each) for each in error.problems])
                await self._audit.attempt(actor, "reload", f"{len(error.problems)} problems in the rule files")
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "the rule files cannot be used; the rules in force stay",
                    problems=[str(each) for each in error.problems],
                ) from None
            except (WorkerUnresponsiveError, OSError) as error:
                self._log.event("reload_failed", level="error", why=str(error))
                await self._audit.attempt(actor, "reload", str(error))
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not all workers can take the rules over") from None

    async def _reload(self, actor: Actor, *, dry_run: bool) -> dict[str, Any]:
        old = self._book.current
        name = await asyncio.to_thread(self._snapshots.take)
        try:
            found = await asyncio.to_thread(self._snapshots.read, name)
            changed = diff_rules(old, found.rules)
            answer = {
                "revision": found.rules.revision,
                "previous": old.revision,
                "changed": changed,
                "warnings": [str(warning) for warning in found.warnings],
                "dry_run": dry_run,
            }
            if dry_run:
                self._snapshots.drop(name)
                return answer
            self._prepared[name] = found.rules
            await self._hear(await self._siblings.ask({"do": "prepare", "name": name}))
            after = {"revision": found.rules.revision, **changed}
            await self._audit.record(actor, "reload", "rules", before=old.revision, after=after)
        except BaseException:
            self._prepared.pop(name, None)
            self._snapshots.drop(name)
            raise
        since = self._snapshots.take_over(name)
        await self._commit(name, since)
        self._told.outcome("applied")
        try:
            await self._hear(await self._siblings.ask({"do": "commit", "name": name, "since": since}))
        except WorkerUnresponsiveError as error:
            self._log.event("reload_incomplete", level="error", why=str(error), revision=found.rules.revision)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the new rules are in force, but a worker may go on with those before"
            ) from None
        self._log.event("rules_reloaded", revision=found.rules.revision, previous=old.revision)
        return answer

    async def _hear(self, answers: list[Message]) -> None:
        for answer in answers:
            if "error" in answer:
                raise WorkerUnresponsiveError(answer["error"])

    async def _answer(self, message: Message) -> Message:
        """What another worker wants of this one."""
        try:
            if message["do"] == "prepare":
                self._prepared = {message["name"]: await self._read(message["name"])}
            else:
                await self._commit(message["name"], message["since"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the other has to hear that it was not done
            self._log.failure("reload_failed", error)
            return {"error": f"a worker failed: {type(error).__name__}"}
        return {}

    async def _commit(self, name: str, since: str) -> None:
        rules = self._prepared.pop(name, None) or await self._read(name)
        self._prepared.clear()
        # From here on without a pause: overrides are put in force from elsewhere, too.
        self._book.current = rules.with_overrides(self._book.current.overrides)
        self.since = since
        self._limiter.forget()
        self._told.rules(rules)

    async def _read(self, name: str) -> Rules:
        return (await asyncio.to_thread(self._snapshots.read, name)).rules

    async def by_signal(self) -> None:
        """Reload because of SIGHUP. Never fails: what is wrong is in the log."""
        try:
            await self.reload(Actor("(SIGHUP)"))
        except Problem as problem:
            self._log.event("reload_refused", level="error", why=problem.detail)
        except Exception as error:  # noqa: BLE001 - a signal has nobody to raise to
            self._log.failure("reload_failed", error)
