"""`Reloader`: puts other rules in force: those in the files, or a revision from before.

The rule files are copied once (`snapshot`), and so are their tests. A rollback takes both from the revision. The copy
is accepted or refused as a whole (`acceptance`). Rules that nobody has confirmed in time are taken back without being
asked for: each worker sees to that (`confirmation`).
"""

import asyncio
from dataclasses import replace
from typing import Any

from gateway.auth.grant import Actor
from gateway.auth.timestamps import format_timestamp, now, timestamp
from gateway.config.key_material import KeyMaterialBook
from gateway.control.audit.writer import AuditWriter
from gateway.control.errors import ConflictError, ControlError, ReloadRejectedError, RevisionsUnavailableError
from gateway.control.reload.acceptance import Acceptance, Change
from gateway.control.reload.file_watch import ReloadOutcome
from gateway.control.reload.in_force import InForce, Pending, Pin
from gateway.control.reload.revisions import Revisions
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.switch import Switch
from gateway.control.reload.worker_channel import Workers, WorkerUnresponsiveError
from gateway.limits.rules import RuleBook
from gateway.telemetry.log import Log


class Reloader:
    """Puts other rules in force.

    Args:
        acceptance: Accepts or refuses rules.
        switch: Puts them in force in every worker.
        snapshots: Copies of the rule files.
        revisions: The rules that were accepted so far.
        workers: Of them, one reloads at a time.
        book: The rules in force.
        material: The certificates and keys in force.
        audit: Records what changed.
        log: Of this process.
    """

    def __init__(
        self,
        acceptance: Acceptance,
        switch: Switch,
        snapshots: Snapshots,
        revisions: Revisions,
        workers: Workers,
        book: RuleBook,
        material: KeyMaterialBook,
        audit: AuditWriter,
        log: Log,
    ) -> None:
        self._acceptance = acceptance
        self._switch = switch
        self._snapshots = snapshots
        self._revisions = revisions
        self._workers = workers
        self._book = book
        self._material = material
        self._audit = audit
        self._log = log

    async def reload(
        self,
        actor: Actor,
        *,
        dry_run: bool = False,
        confirm_within: float | None = None,
        force: bool = False,
        unpin: bool = True,
    ) -> dict[str, Any]:
        """Reload. Returns the revision, the one before, what changed, and the results of the new rules' tests.

        Args:
            actor: Who asked for it.
            dry_run: Only return what would change.
            confirm_within: Seconds after which the revision before is in force again, unless `confirm` is called.
            force: Reload the very files that were rolled back, too.
            unpin: Whether files may be reloaded while a revision is pinned, which ends that.

        Raises:
            ConflictError: a reload has to be confirmed first, or what is in force is pinned.
            ReloadRejectedError: the files are invalid, or the rules fail their tests; the rules in force stay. If the
                rules could be read, its members are what would have been returned.
            AuditUnavailableError, RevisionsUnavailableError: it cannot be recorded; the rules in force stay.
            ReloadFailedError: a worker failed. The rules in force stay, unless it failed after all had agreed: the
                message says which.
        """
        change = Change(actor, dry_run=dry_run)
        async with self._acceptance.one_at_a_time(change):
            before = await self._in_force(force=force or dry_run)
            if not dry_run:
                _require_confirmed(before)
                if before.pin is not None and not unpin:
                    raise ConflictError(
                        f"revision {before.number} is pinned since {before.pin.since}: SIGHUP does not end that, "
                        "`gateway reload` puts the files in force again"
                    )
                if confirm_within is not None:
                    await self._require_return(before)
            name, files = await asyncio.to_thread(self._snapshots.take)

            def terms(number: int, checksum: str) -> InForce:
                _require_confirmed(before)
                rolled_back = before.pin.rolled_back if before.pin is not None else ()
                if checksum in rolled_back and not force:
                    raise ConflictError(
                        f"rules {checksum} were rolled back; change the files, or reload with force=true"
                    )
                if confirm_within is None or number == before.number:
                    return InForce(number)
                deadline = now() + int(confirm_within * 1e6)
                return InForce(number, None, Pending(before.number, deadline, actor.subject, rolled_back))

            return await self._acceptance.accept(change, name, files, before, terms)

    async def rollback(self, actor: Actor, to: int | str, reason: str) -> dict[str, Any]:
        """Put a revision in force again, and pin it. Returns what `reload` returns.

        Args:
            actor: Who asked for it.
            to: Its number, or the checksum of its rules.
            reason: Why.

        Raises:
            NoRevisionError: there is none.
            ConflictError: it is in force.
            ControlError: as `reload`.
        """
        change = Change(actor, "rollback", reason)
        async with self._acceptance.one_at_a_time(change):
            before = await self._in_force(force=True)
            self._require_revisions("a rollback")
            number = to if isinstance(to, int) else await asyncio.to_thread(self._revisions.find, to)
            revision = await asyncio.to_thread(self._revisions.get, number)
            if number == before.number:
                raise ConflictError(f"revision {number} is in force already")
            earlier = before.pin or before.pending
            taken_back = dict.fromkeys((*(earlier.rolled_back if earlier else ()), self._book.current.revision))
            taken_back.pop(revision.revision, None)
            in_force = InForce(number, Pin(timestamp(), actor.subject, reason, tuple(taken_back)))
            name = await asyncio.to_thread(self._snapshots.write, revision.files)
            return await self._acceptance.accept(change, name, None, before, lambda *_: in_force)

    async def confirm(self, actor: Actor) -> dict[str, Any]:
        """Confirm what is in force. Returns its number and checksum.

        Raises:
            ConflictError: nothing has to be confirmed, or it is too late.
            AuditUnavailableError, RevisionsUnavailableError: it cannot be recorded.
        """
        async with self._workers.locked():
            before = await asyncio.to_thread(self._revisions.refresh)
            if before.pending is None:
                raise ConflictError("there is nothing to confirm: no reload waits for it, or it was too late")
            if before.pending.deadline <= now() and await self._can_return(before.pending):
                raise ConflictError("it is too late to confirm: the revision before is being put in force again")
            checksum = self._book.current.revision
            await self._audit.record(actor, "confirm", "rules", after={"number": before.number, "revision": checksum})
            await asyncio.to_thread(self._revisions.put, replace(before, pending=None))
        self._log.event("rules_confirmed", number=before.number, revision=checksum)
        return {"number": before.number, "revision": checksum}

    async def return_if_unconfirmed(self) -> None:
        """Put the revision before in force again if nobody has confirmed the one in force in time.

        Neither an audit log nor a disk that cannot be written prevents it, nor a worker that does not reply.

        Raises:
            ControlError: the revision before cannot be read.
        """
        async with self._workers.locked():
            before = await asyncio.to_thread(self._revisions.refresh)
            if before.pending is None or before.pending.deadline > now():
                return
            try:
                revision = await asyncio.to_thread(self._revisions.get, before.pending.previous)
            except ControlError as error:
                raise RevisionsUnavailableError(
                    f"nobody has confirmed revision {before.number} in time, but it stays in force, because revision "
                    f"{before.pending.previous} cannot be read: {error}; run `gateway confirm`, then reload"
                ) from None
            name = await asyncio.to_thread(self._snapshots.write, revision.files)
            new = await asyncio.to_thread(self._snapshots.read, name)
            old, material = self._book.current, self._material.current
            after = before.returned(old.revision, timestamp())
            try:
                await asyncio.to_thread(self._revisions.put, after)
            except RevisionsUnavailableError as error:
                self._revisions.remember(after)
                self._log.event("reload_failed", level="error", why=str(error))
            try:
                await self._switch.prepare(name, new.rules, material)
            except WorkerUnresponsiveError as error:
                self._log.event("reload_failed", level="error", why=str(error))
            try:
                await self._switch.commit(name, material.digest)
            except WorkerUnresponsiveError as error:
                self._log.event("reload_incomplete", level="error", why=str(error), revision=new.rules.revision)
            self._log.event(
                "rules_returned", level="warning", number=revision.number, revision=new.rules.revision,
                previous=old.revision, actor=before.pending.actor,
            )  # fmt: skip
            try:
                now_in_force = {"number": revision.number, "revision": new.rules.revision}
                await self._audit.record(
                    Actor("(deadline)"), "return", "rules", before=old.revision, after=now_in_force
                )
            except ControlError as error:
                self._log.event("audit_failed", level="error", why=str(error))

    async def _in_force(self, *, force: bool) -> InForce:
        try:
            return await asyncio.to_thread(self._revisions.refresh)
        except RevisionsUnavailableError as error:
            if force:
                return replace(self._revisions.in_force, pending=None)
            raise RevisionsUnavailableError(f"{error}; a reload with force=true replaces it") from None

    def _require_revisions(self, what: str) -> None:
        if not self._revisions.are_kept:
            raise RevisionsUnavailableError(f"{what} needs revisions, and none is kept: set control.state")

    async def _require_return(self, before: InForce) -> None:
        """Require that the revision in force can be put in force again.

        Raises:
            ConflictError, RevisionsUnavailableError: it cannot.
        """
        self._require_revisions("confirm_within")
        if not before.number:
            raise ConflictError("there is no revision to return to so far; reload without confirm_within")
        try:
            await asyncio.to_thread(self._revisions.get, before.number)
        except ControlError as error:
            raise RevisionsUnavailableError(
                f"the rules in force could not be put in force again: {error}; reload without confirm_within"
            ) from None

    async def _can_return(self, pending: Pending) -> bool:
        try:
            await asyncio.to_thread(self._revisions.get, pending.previous)
        except ControlError:
            return False
        return True

    async def reload_on_signal(self) -> bool:
        """Reload because of SIGHUP. Never raises: what goes wrong is in the log. Returns whether it was applied."""
        return await self._reload_unasked(Actor("(SIGHUP)")) is ReloadOutcome.APPLIED

    async def reload_on_change(self) -> ReloadOutcome:
        """Reload because files have changed. Never raises: what goes wrong is in the log."""
        return await self._reload_unasked(Actor("(watch)"))

    async def _reload_unasked(self, actor: Actor) -> ReloadOutcome:
        try:
            await self.reload(actor, unpin=False)
        except (ReloadRejectedError, ConflictError) as error:
            self._log.event("reload_refused", level="error", why=str(error))
            return ReloadOutcome.REFUSED
        except ControlError as error:
            self._log.event("reload_refused", level="error", why=str(error))
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            self._acceptance.count_rejection()
            self._log.failure("reload_failed", error)
        else:
            return ReloadOutcome.APPLIED
        return ReloadOutcome.FAILED

    async def differs(self) -> bool:
        """Whether the files differ from what is in force. Those that are rejected do not: why is in the log."""
        try:
            result = await self.reload(Actor("(watch)"), dry_run=True)
        except ReloadRejectedError:
            return False
        except ControlError:
            return True
        return bool(result["revision"] != result["previous"] or result["certificates"] or result["keys"])


def _require_confirmed(before: InForce) -> None:
    if before.pending is not None:
        until = format_timestamp(before.pending.deadline)
        raise ConflictError(
            f"revision {before.number} waits to be confirmed until {until}; confirm it, or roll back, and then reload"
        )
