"""`Reloader`: reads rules and certificates again, and applies them in every worker of this gateway or in none.

1. The rule files are copied once, and read (`snapshot`), and so are the files of certificates, which are not copied:
   private keys are among them. If anything is wrong with them, or the rules fail their tests, it is reported, and
   nothing changes. The tests run once, in this worker.
2. Every worker reads the copy and the certificates, and replies that it has, and that they are the same (prepare).
3. The change is written to the audit log.
4. The copy is noted as in force, for workers that start later; then every worker switches (commit). That is one
   assignment, and a request looks at the rules in force only once, so none is decided by a mix of old and new rules.
   Certificates are used for new connections.

Buckets are not touched. What was spent stays spent: a bucket's debt is converted when it is next charged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from gateway.auth.grant import Actor
from gateway.config.certificate_book import CertificateBook
from gateway.config.certificates import Certificates
from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.control.audit.writer import AuditWriter
from gateway.control.errors import ControlError, ReloadFailedError, ReloadRejectedError, RuleTestsFailedError
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.worker_channel import Message, Workers, WorkerUnresponsiveError
from gateway.limiter.limiter import Limiter
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.rules_diff import diff_rules
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

RunRuleTests = Callable[[Rules], tuple[int, list[Diagnostic]]]
"""Runs the tests of rules; returns how many there are, and the failures. Blocks, and raises `ConfigError`."""


class CertificatesDifferError(Exception):
    """A worker has read other certificates than the one that reloads."""


class _Prepared(NamedTuple):
    """What the next commit applies."""

    rules: Rules
    certificates: Certificates


class Reloader:
    """Reloads rules and certificates.

    Args:
        snapshots: Copies of the rule files.
        run_tests: Runs the tests of new rules.
        workers: The other workers.
        book: The rules in force.
        certificates: The certificates in force.
        limiter: Forgets what it knows of buckets when rules change.
        audit: Records what changed.
        metrics: Count reloads, and show the rules in force.
        log: Of this process.
        since: When the gateway started, in ISO 8601.

    Attributes:
        since: Since when the rules in force are in force, in ISO 8601.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        run_tests: RunRuleTests,
        workers: Workers,
        book: RuleBook,
        certificates: CertificateBook,
        limiter: Limiter,
        audit: AuditWriter,
        metrics: Metrics,
        log: Log,
        since: str,
    ) -> None:
        self._snapshots = snapshots
        self._run_tests = run_tests
        self._workers = workers
        self._book = book
        self._certificates = certificates
        self._limiter = limiter
        self._audit = audit
        self._metrics = metrics
        self._log = log
        self.since = since
        self._prepared: dict[str, _Prepared] = {}

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Apply the rules that the other workers have in force, and follow their reloads while the block runs."""
        async with self._workers.listening(self._handle):
            in_force = self._snapshots.in_force()
            if in_force is not None:
                await self._commit(*in_force)
            yield

    async def reload(self, actor: Actor, *, dry_run: bool = False) -> dict[str, Any]:
        """Reload. Returns the revision, the one before, what changed, and the results of the new rules' tests.

        Args:
            actor: Who asked for it.
            dry_run: Only return what would change.

        Raises:
            ReloadRejectedError: the files are invalid, or the rules fail their tests; the rules in force stay. If the
                rules could be read, its members are what would have been returned.
            AuditUnavailableError: it cannot be recorded; the rules in force stay.
            ReloadFailedError: a worker failed. The rules in force stay, unless it failed after all had agreed: the
                message says which.
        """
        async with self._workers.locked():
            try:
                return await self._reload(actor, dry_run=dry_run)
            except ConfigError as error:
                rejection = ReloadRejectedError([str(each) for each in error.problems])
                await self._note_rejection(actor, rejection)
                raise rejection from None
            except ReloadRejectedError as error:
                await self._note_rejection(actor, error)
                raise
            except ControlError:
                self._metrics.reloaded("rejected")
                raise
            except (WorkerUnresponsiveError, OSError) as error:
                self._metrics.reloaded("rejected")
                self._log.event("reload_failed", level="error", why=str(error))
                await self._audit.record_refusal(actor, "reload", str(error))
                raise ReloadFailedError("not all workers could take over the new rules; those in force stay") from None

    async def _note_rejection(self, actor: Actor, rejection: ReloadRejectedError) -> None:
        self._metrics.reloaded("rejected")
        self._log.event("reload_rejected", level="error", problems=rejection.problems)
        await self._audit.record_refusal(actor, "reload", f"{len(rejection.problems)} {rejection.what}")

    async def _reload(self, actor: Actor, *, dry_run: bool) -> dict[str, Any]:
        old = self._book.current
        name = await asyncio.to_thread(self._snapshots.take)
        try:
            new = await asyncio.to_thread(self._snapshots.read, name)
            certificates = await asyncio.to_thread(self._certificates.read)
            changed = diff_rules(old, new.rules)
            renewed = certificates.changed_since(self._certificates.current)
            result = {
                "revision": new.rules.revision,
                "previous": old.revision,
                "changed": changed,
                "certificates": renewed,
                "warnings": [str(warning) for warning in new.warnings],
                "dry_run": dry_run,
            }
            result["tests"] = await self._test(new.rules, result)
            if dry_run:
                self._snapshots.drop(name)
                return result
            self._prepared[name] = _Prepared(new.rules, certificates)
            _check(await self._workers.ask({"do": "prepare", "name": name, "certificates": certificates.digest}))
            after = {"revision": new.rules.revision, **changed, **({"certificates": renewed} if renewed else {})}
            await self._audit.record(actor, "reload", "rules", before=old.revision, after=after, or_log=True)
        except BaseException:
            self._prepared.pop(name, None)
            self._snapshots.drop(name)
            raise
        digest = certificates.digest
        since = self._snapshots.commit(name, digest)
        await self._commit(name, since, digest)
        self._metrics.reloaded("applied")
        try:
            _check(await self._workers.ask({"do": "commit", "name": name, "since": since, "certificates": digest}))
        except WorkerUnresponsiveError as error:
            self._log.event("reload_incomplete", level="error", why=str(error), revision=new.rules.revision)
            raise ReloadFailedError("the new rules are in force, but a worker may still use the old ones") from None
        self._log.event("rules_reloaded", revision=new.rules.revision, previous=old.revision)
        if renewed:
            self._log.event("certificates_reloaded", certificates=renewed)
        return result

    async def _test(self, rules: Rules, known: Mapping[str, Any]) -> dict[str, Any]:
        """Run the tests of new rules. Returns how many passed.

        Args:
            rules: The new rules.
            known: What is known of the reload so far, for whoever is told that it is rejected.

        Raises:
            RuleTestsFailedError: some fail.
            ReloadRejectedError: they cannot be used.
        """
        try:
            tests, failures = await asyncio.to_thread(self._run_tests, rules)
        except ConfigError as error:
            raise ReloadRejectedError([str(each) for each in error.problems], **known) from None
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

    async def _handle(self, message: Message) -> Message:
        """Do what another worker asks for. Returns the reply."""
        try:
            if message["do"] == "prepare":
                self._prepared = {message["name"]: await self._prepare(message["name"], message["certificates"])}
            else:
                await self._commit(message["name"], message["since"], message["certificates"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the other has to know that it was not done
            self._log.failure("reload_failed", error)
            return {"error": f"a worker failed: {type(error).__name__}"}
        return {}

    async def _prepare(self, name: str, digest: str) -> _Prepared:
        """What another worker wants to apply.

        Raises:
            CertificatesDifferError: the files of certificates have changed since it read them.
        """
        certificates = await asyncio.to_thread(self._certificates.read)
        if certificates.digest != digest:
            raise CertificatesDifferError
        return _Prepared(await self._read(name), certificates)

    async def _catch_up(self, name: str, digest: str) -> _Prepared:
        """What is in force, for a worker that has not prepared it because it started later.

        The certificates with which the gateway started are better than none, and better than files that are unusable.
        """
        certificates = self._certificates.current
        if certificates.digest != digest:
            try:
                certificates = await asyncio.to_thread(self._certificates.read)
            except ConfigError as error:
                self._log.event("certificates_unusable", level="error", problems=[str(each) for each in error.problems])
        return _Prepared(await self._read(name), certificates)

    async def _commit(self, name: str, since: str, digest: str) -> None:
        prepared = self._prepared.pop(name, None)
        rules, certificates = await self._catch_up(name, digest) if prepared is None else prepared
        self._prepared.clear()
        self._certificates.replace(certificates)
        # No await from here on: overrides are applied concurrently.
        self._book.current = rules.with_overrides(self._book.current.overrides)
        self.since = since
        self._limiter.forget()
        self._metrics.rules(rules.revision, rules.endpoints, rules.limits)

    async def _read(self, name: str) -> Rules:
        return (await asyncio.to_thread(self._snapshots.read, name)).rules

    async def reload_on_signal(self) -> bool:
        """Reload because of SIGHUP. Never raises: what goes wrong is in the log. Returns whether it was applied."""
        try:
            await self.reload(Actor("(SIGHUP)"))
        except ControlError as error:
            self._log.event("reload_refused", level="error", why=str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            self._metrics.reloaded("rejected")
            self._log.failure("reload_failed", error)
        else:
            return True
        return False


def _check(replies: Sequence[Message]) -> None:
    for reply in replies:
        if "error" in reply:
            raise WorkerUnresponsiveError(reply["error"])
