"""`start_in_force`: which rules a gateway that starts has in force: the rule files, or a revision."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.auth.timestamps import now, timestamp
from gateway.config.diagnostic import ConfigError
from gateway.config.loader import Loaded
from gateway.control.errors import ControlError, RevisionsUnavailableError
from gateway.control.reload.in_force import InForce
from gateway.control.reload.revisions import Revision, Revisions
from gateway.control.reload.rule_files import RuleFiles
from gateway.control.reload.snapshot import Snapshots
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules
from gateway.settings.gateway import Settings


def start_in_force(loaded: Loaded, revisions: Revisions, warn: Callable[[str], None]) -> Loaded:
    """What a gateway starts with. Otherwise a crash would bring back rules that were rolled back.

    A revision that is pinned or has to be confirmed is in force again; one that was not confirmed in time is not, but
    the one before. Else the rule files are in force, and are kept as a revision if they differ from the last.

    Args:
        loaded: Settings, and rules from the files.
        revisions: Of this gateway.
        warn: Tells the operator.
    """
    if not revisions.are_kept:
        return loaded
    before = InForce()
    try:
        before = revisions.refresh()
        if before.pin is not None or before.pending is not None:
            return _start_with_revision(loaded, revisions, before, warn)
    except (ControlError, ConfigError, OSError) as error:
        warn(f"warning: the rules are those in the files, because the revision in force cannot be used: {error}")
    try:
        _keep_files(loaded, revisions, before)
    except (ControlError, OSError) as error:
        warn(f"warning: the rules cannot be kept as a revision, so nobody can roll back to them: {error}")
    return loaded


def _start_with_revision(loaded: Loaded, revisions: Revisions, before: InForce, warn: Callable[[str], None]) -> Loaded:
    in_force = before
    if before.pending is not None and before.pending.deadline <= now():
        in_force = before.returned(revisions.get(before.number).revision, timestamp())
    rules = _read(loaded.settings, revisions.get(in_force.number).files)
    try:
        revisions.put(in_force)
    except RevisionsUnavailableError as error:
        warn(f"warning: {error}")
    if in_force.pin is not None:
        warn(
            f"warning: revision {in_force.number} of the rules is in force, NOT THE RULE FILES: pinned since "
            f"{in_force.pin.since} by {in_force.pin.actor} ({in_force.pin.reason}); `gateway reload` ends that"
        )
    else:
        warn(f"warning: revision {in_force.number} of the rules is in force, which has to be confirmed")
    return replace(loaded, rules=rules)


def _keep_files(loaded: Loaded, revisions: Revisions, before: InForce) -> None:
    files = RuleFiles.read(loaded.settings)
    previous, old = "", None
    try:
        last = revisions.get(before.number)
        previous, same = last.revision, last.files.digest == files.digest
        if same and before == InForce(before.number):
            return
        if same:
            revisions.put(InForce(before.number))
            return
        old = _read(loaded.settings, last.files)
    except (ControlError, ConfigError):
        pass  # there is none, or it cannot be compared
    number, rules = revisions.next_number(), loaded.rules
    changed = {} if old is None else diff_rules(old, rules)
    revisions.add(Revision(number, timestamp(), "(start)", "", rules.revision, previous, changed, files))
    revisions.put(InForce(number))


def _read(settings: Settings, files: RuleFiles) -> Rules:
    with TemporaryDirectory() as folder:
        snapshots = Snapshots(settings, Path(folder), timestamp)
        return snapshots.read(snapshots.write(files)).rules
