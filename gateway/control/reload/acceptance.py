"""`Acceptance`: accepts rules and puts them in force, or refuses them and changes nothing.

1. The copy of the rule files is read, and so are the files of certificates and keys, which are not copied, because
   they hold secrets. A rollback leaves certificates and keys as they are. If anything is wrong, or the rules fail their
   tests, it is reported, and nothing changes. The tests run once, in this worker.
2. Every worker prepares (`switch`).
3. The rules are kept as a revision (`revisions`), and the change is written to the audit log.
4. It is noted on disk which revision is in force, and on what terms (`in_force`). Then every worker switches.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.auth.grant import Actor
from gateway.auth.timestamps import format_timestamp, timestamp
from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.config.key_material import KeyMaterialBook
from gateway.control.audit.writer import AuditWriter
from gateway.control.errors import (
    ConflictError,
    ControlError,
    ReloadFailedError,
    ReloadRejectedError,
    RevisionsUnavailableError,
    RuleTestsFailedError,
)
from gateway.control.reload.in_force import InForce
from gateway.control.reload.revisions import Revision, Revisions
from gateway.control.reload.rule_files import RuleFiles
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.switch import Switch
from gateway.control.reload.worker_channel import Workers, WorkerUnresponsiveError
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.rules_diff import diff_rules
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

RunRuleTests = Callable[[Rules, Path | None], tuple[int, list[Diagnostic]]]
"""Runs the tests of rules in a file or folder; returns how many there are, and the failures. Blocks, and raises
`ConfigError`."""

Terms = Callable[[int, str], InForce]
"""On what terms a revision of a number and a checksum is in force. May raise `ConflictError`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be put in force, and how that is recorded.

    Attributes:
        actor: Who asked for it.
        action: In the audit log.
        reason: Why; empty if nobody said.
        dry_run: Only return what would change.
    """

    actor: Actor
    action: str = "reload"
    reason: str = ""
    dry_run: bool = False


class Acceptance:
    """Accepts rules, or refuses them.

    Args:
        switch: Puts them in force in every worker.
        snapshots: Copies of the rule files.
        revisions: The rules that were accepted so far.
        run_tests: Runs the tests of new rules.
        workers: Of them, one changes rules at a time.
        book: The rules in force.
        material: The certificates and keys in force.
        audit: Records what changed.
        metrics: Count reloads.
        log: Of this process.
    """

    def __init__(
        self,
        switch: Switch,
        snapshots: Snapshots,
        revisions: Revisions,
        run_tests: RunRuleTests,
        workers: Workers,
        book: RuleBook,
        material: KeyMaterialBook,
        audit: AuditWriter,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._switch = switch
        self._snapshots = snapshots
        self._revisions = revisions
        self._run_tests = run_tests
        self._workers = workers
        self._book = book
        self._material = material
        self._audit = audit
        self._metrics = metrics
        self._log = log

    @asynccontextmanager
    async def one_at_a_time(self, change: Change) -> AsyncIterator[None]:
        """Let only one worker change rules while the block runs, and count, log and record what is refused."""
        async with self._workers.locked():
            try:
                yield
            except ConfigError as error:
                rejection = ReloadRejectedError([str(each) for each in error.problems])
                await self._note_rejection(change, rejection)
                raise rejection from None
            except ReloadRejectedError as error:
                await self._note_rejection(change, error)
                raise
            except ControlError as error:
                self.count_rejection()
                if isinstance(error, ConflictError | RevisionsUnavailableError):
                    await self._audit.record_refusal(change.actor, change.action, str(error))
                raise
            except (WorkerUnresponsiveError, OSError) as error:
                self.count_rejection()
                self._log.event("reload_failed", level="error", why=str(error))
                await self._audit.record_refusal(change.actor, change.action, str(error))
                raise ReloadFailedError("not all workers could take over the new rules; those in force stay") from None

    def count_rejection(self) -> None:
        """Count a reload that was rejected."""
        self._metrics.reloaded("rejected")

    async def _note_rejection(self, change: Change, rejection: ReloadRejectedError) -> None:
        self.count_rejection()
        self._log.event("reload_rejected", level="error", problems=rejection.problems)
        what = f"{len(rejection.problems)} {rejection.what}"
        await self._audit.record_refusal(change.actor, change.action, what)

    async def accept(
        self, change: Change, name: str, files: RuleFiles | None, before: InForce, terms: Terms
    ) -> dict[str, Any]:
        """Put a copy in force. Returns what `Reloader.reload` does. To be called `one_at_a_time`.

        Args:
            change: Who asked for it, and why.
            name: Of the copy. It is dropped if it is refused.
            files: What is in it; None if it is a revision already.
            before: What is in force.
            terms: On what terms the copy will be.
        """
        old = self._book.current
        number = 0  # of the revision that this makes
        try:
            new = await asyncio.to_thread(self._snapshots.read, name)
            held = self._material.current
            material = held if files is None else await asyncio.to_thread(self._material.read)
            changed = diff_rules(old, new.rules)
            renewed = await asyncio.to_thread(material.changes_since, held)
            result: dict[str, Any] = {
                "revision": new.rules.revision,
                "previous": old.revision,
                "changed": changed,
                **renewed,
                "warnings": [str(warning) for warning in new.warnings],
                "dry_run": change.dry_run,
            }
            result["tests"] = await self._test(name, new.rules, result)
            if change.dry_run:
                self._snapshots.drop(name)
                result["warnings"] += _refusal(terms, before.number, new.rules.revision)
                return result
            if files is not None and not await asyncio.to_thread(self._is_kept, before.number, files):
                number = await asyncio.to_thread(self._revisions.next_number)
            in_force = terms(number or before.number, new.rules.revision)
            await self._switch.prepare(name, new.rules, material)
            if number and files is not None:
                actor, checksums = change.actor, (new.rules.revision, old.revision)
                made = Revision(number, timestamp(), actor.subject, actor.source, *checksums, changed, files)
                await asyncio.to_thread(self._revisions.add, made)
            after = {
                "revision": new.rules.revision,
                **changed,
                **{name: each for name, each in renewed.items() if each},
            }
            await self._audit.record(
                change.actor,
                change.action,
                "rules",
                before=old.revision,
                after=after,
                reason=change.reason,
                or_log=True,
            )
            await asyncio.to_thread(self._revisions.put, in_force)
        except BaseException:
            self._switch.abandon(name)
            if number:
                await asyncio.to_thread(self._revisions.remove, number)
            raise
        try:
            await self._switch.commit(name, material.digest)
        except WorkerUnresponsiveError as error:
            self._log.event("reload_incomplete", level="error", why=str(error), revision=new.rules.revision)
            raise ReloadFailedError("the new rules are in force, but a worker may still use the old ones") from None
        finally:
            self._metrics.reloaded("applied")
        self._note_in_force(new.rules.revision, old.revision, in_force)
        if renewed["certificates"]:
            self._log.event("certificates_reloaded", certificates=renewed["certificates"])
        if renewed["keys"]:
            counts = renewed["keys"].get("api_keys", {})
            self._log.event("keys_reloaded", token_keys=renewed["keys"].get("token_keys", []), **counts)
        pending = in_force.pending
        confirm_by = format_timestamp(pending.deadline) if pending else None
        return {**result, "number": in_force.number, "confirm_by": confirm_by}

    def _note_in_force(self, revision: str, previous: str, in_force: InForce) -> None:
        self._log.event("rules_reloaded", revision=revision, previous=previous)
        if in_force.pin is not None:
            pin = in_force.pin
            self._log.event(
                "rules_pinned",
                level="warning",
                number=in_force.number,
                revision=revision,
                actor=pin.actor,
                why=pin.reason,
            )
        if in_force.pending is not None:
            pending = in_force.pending
            deadline = format_timestamp(pending.deadline)
            self._log.event(
                "rules_unconfirmed", level="warning", number=in_force.number, returns_to=pending.previous, at=deadline
            )

    def _is_kept(self, number: int, files: RuleFiles) -> bool:
        """Whether a revision has the same files."""
        if not self._revisions.are_kept:
            return True  # nothing is to be kept
        try:
            return self._revisions.get(number).files.digest == files.digest
        except ControlError:
            return False

    async def _test(self, name: str, rules: Rules, known: Mapping[str, Any]) -> dict[str, Any]:
        """Run the tests of new rules. Returns how many passed.

        Args:
            name: Of the copy in which the tests are.
            rules: The new rules.
            known: What is known of the reload so far, for whoever is told that it is rejected.

        Raises:
            RuleTestsFailedError: some fail.
            ReloadRejectedError: they cannot be used.
        """
        try:
            tests, failed = await asyncio.to_thread(self._run_tests, rules, self._snapshots.tests(name))
        except ConfigError as error:
            problems = [str(self._snapshots.at_source(name, each)) for each in error.problems]
            raise ReloadRejectedError(problems, **known) from None
        failures = [self._snapshots.at_source(name, each) for each in failed]
        results = {
            "passed": tests - len(failures),
            "failed": len(failures),
            "failures": [
                {"file": each.file, "line": each.line, "column": each.column, "message": each.message}
                for each in failures
            ],
        }
        if failures:
            raise RuleTestsFailedError([str(each) for each in failures], **known, tests=results)
        return results


def _refusal(terms: Terms, number: int, checksum: str) -> list[str]:
    """Why rules would be refused that are as they should be."""
    try:
        terms(number, checksum)
    except ConflictError as error:
        return [f"a reload would be refused: {error}"]
    return []
