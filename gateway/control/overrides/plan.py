"""`Plan`: a CSV file with all overrides, compared with those that are stored; and such a file made of the stored ones.

Its columns are the members of an override in JSON; an empty cell is a missing member. Several names are separated by
spaces.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.auth.timestamps import parse_timestamp, timestamp
from gateway.control.errors import InvalidObjectError, InvalidPlanError
from gateway.control.json_object import JsonObject
from gateway.control.overrides.csv_file import CsvError, Row, format_row, read_rows
from gateway.control.overrides.known import NEVER
from gateway.control.overrides.model import OverrideRecord, RecordReader, parse_override, read_override
from gateway.control.target import ATTRIBUTES, KINDS, Target, address_in, parse_target, unknown_attribute
from gateway.limits.holder import USER
from gateway.limits.identity import Identity
from gateway.limits.override import Override
from gateway.limits.rules import Rules

_LISTS = ("limits", "endpoints")
_REQUIRED = ("effect", "reason", "expires_at")
COLUMNS = (*KINDS, "effect", "rate", "burst", "quota", "at_once", "tier", *_LISTS, "reason", "expires_at")

_AT_A_TIME = 20
"""Rows that are read before requests get their turn: a few milliseconds' work at most."""

_FEW = 10
"""Changes of each kind that are shown."""

_MAX_ERRORS = 1000

_IN_A_ROW = {"this member is required": "is required", "unknown member": "is not for this effect; leave it empty"}
"""What is said of a member of JSON, and what it means for a cell."""

_Error = tuple[str, str]
"""The column, and what is wrong with its cell."""

_Read = Override | list[_Error]
"""The override in a row, or its errors."""

_MAX_KNOWN = 10_000
"""Different overrides that are remembered: most files have few, for many targets each."""


@dataclass(slots=True)
class Changes:
    """How many overrides change in the same way, and the first of them.

    Attributes:
        count: How many.
        first: The first few, as they are shown.
    """

    count: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)

    def add(self, shown: Callable[[], dict[str, Any]]) -> None:
        """Count one; `shown` returns it as it is shown."""
        self.count += 1
        if len(self.first) < _FEW:
            self.first.append(shown())

    def document(self) -> dict[str, Any]:
        return {"count": self.count, "first": self.first}


class Plan(NamedTuple):
    """What a file would have changed.

    Attributes:
        texts: All overrides as they are to be stored, by the digests of their targets.
        added: Those that are new.
        removed: Those that are in the file no more.
        changed: Those that the file has otherwise.
        unchanged: How many are stored as the file has them.
        expired: How many in the file have expired; they are left out.
    """

    texts: Mapping[bytes, bytes]
    added: Changes
    removed: Changes
    changed: Changes
    unchanged: int
    expired: int

    @property
    def changes_anything(self) -> bool:
        """Whether the file is not what is stored."""
        return bool(self.added.count or self.removed.count or self.changed.count)

    @property
    def counts(self) -> dict[str, int]:
        """What the audit log records of it."""
        return {
            "overrides": len(self.texts),
            "added": self.added.count,
            "removed": self.removed.count,
            "changed": self.changed.count,
            "unchanged": self.unchanged,
        }

    def document(self) -> dict[str, Any]:
        """All of it but the texts, for responses."""
        parts = {"added": self.added, "removed": self.removed, "changed": self.changed}
        shown = {name: each.document() for name, each in parts.items()}
        return {"overrides": len(self.texts), **shown, "unchanged": self.unchanged, "expired": self.expired}


class PlanReader:
    """Reads one file.

    Args:
        stored: The overrides that are stored, by the digests of their targets.
        rules: The rules in force; an override that is new or changed has to fit them.
        identity: Makes digests.
        set_by: Who sets what is new or changed.
        now: Microseconds since 1970.
    """

    def __init__(self, stored: Mapping[bytes, bytes], rules: Rules, identity: Identity, set_by: str, now: int) -> None:
        self._stored = stored
        self._rules = rules
        self._identity = identity
        self._set_by = set_by
        self._set_at = timestamp()
        self._now = now
        self._reader = RecordReader()
        self._errors: list[dict[str, Any]] = []
        self._count = 0
        self._columns: dict[str, int] = {}
        self._known: dict[tuple[str, ...], _Read] = {}
        self._lines: dict[bytes, int] = {}
        self._texts: dict[bytes, bytes] = {}
        self._added, self._removed, self._changed = Changes(), Changes(), Changes()
        self._unchanged = self._expired = 0

    async def read(self, text: str) -> Plan:
        """The plan. Requests get their turn while it is made.

        Raises:
            InvalidPlanError: with all that is wrong.
        """
        rows = read_rows(text.removeprefix("\ufeff"))
        try:
            self._read_header(next(rows, Row(1, [], "")))
            for place, row in enumerate(rows if not self._errors else ()):
                if place % _AT_A_TIME == _AT_A_TIME - 1:
                    await asyncio.sleep(0)
                self._read_row(row)
        except CsvError as error:
            self._refuse(error.line, 1, str(error))
        if self._errors:
            raise InvalidPlanError(self._errors, self._count)
        for place, (digest, stored) in enumerate(self._stored.items()):
            if place % _AT_A_TIME == _AT_A_TIME - 1:
                await asyncio.sleep(0)
            if digest not in self._texts:
                self._note_removed(stored)
        return Plan(self._texts, self._added, self._removed, self._changed, self._unchanged, self._expired)

    def _refuse(self, line: int, column: int, detail: str) -> None:
        self._count += 1
        if len(self._errors) < _MAX_ERRORS:
            self._errors.append({"line": line, "column": column, "detail": detail})

    def _read_header(self, row: Row) -> None:
        for place, name in enumerate(row.cells):
            if name not in COLUMNS:
                self._refuse(*row.place(place), f"unknown column {name[:64]!r}; known are {', '.join(COLUMNS)}")
            elif name in self._columns:
                self._refuse(*row.place(place), f"the column {name} is there twice")
            self._columns[name] = place
        for name in _REQUIRED:
            if name not in self._columns:
                self._refuse(*row.place(len(row.cells)), f"the column {name} is missing")
        if not self._columns.keys() & set(KINDS):
            self._refuse(*row.place(len(row.cells)), f"there is no column for the target: {' or '.join(KINDS)}")

    def _read_row(self, row: Row) -> None:
        if len(row.cells) != len(self._columns):
            count = f"{len(row.cells)} cell{'s' * (len(row.cells) != 1)}"
            self._refuse(*row.place(0), f"this row has {count}, and the header has {len(self._columns)}")
            return
        cells = {name: cell for name, place in self._columns.items() if (cell := row.cells[place])}
        target = self._target(row, cells)
        if target is None:
            override = self._read(cells, None)
            self._refuse_cells(row, override if isinstance(override, list) else ())
            return
        digest = target.digest(self._identity).encode()
        line = self._lines.setdefault(digest, row.line)
        if line != row.line:
            self._refuse_cells(row, [(target.kind, f"has a row already, in line {line}")])
        elif (parse_timestamp(cells.get("expires_at", "")) or NEVER) <= self._now:
            self._expired += 1
        else:
            self._take(row, digest, target, cells)

    def _target(self, row: Row, cells: dict[str, str]) -> Target | None:
        """The target of a row, taken out of its cells; None if there is none, which is noted."""
        found = [(kind, cells.pop(kind)) for kind in KINDS if kind in cells]
        if len(found) != 1:
            self._refuse(*row.place(0), f"this row must have exactly one of {', '.join(KINDS)}")
            return None
        (kind, name) = found[0]
        try:
            return parse_target(kind, name)
        except ValueError as error:
            self._refuse_cells(row, [(kind, str(error))])
            return None

    def _take(self, row: Row, digest: bytes, target: Target, cells: Mapping[str, str]) -> None:
        """Compare a row with what is stored. What is stored just so stays, whatever the rules are by now."""
        stored = self._stored.get(digest)
        before = None if stored is None else self._record(stored)
        if stored is not None and before is not None and before.override == self._read(cells, None):
            self._unchanged += 1
            self._texts[digest] = stored
            return
        override = self._read(cells, target)
        if isinstance(override, list):
            self._refuse_cells(row, override)
            return
        record = OverrideRecord(target, override, self._set_by, self._set_at)
        self._texts[digest] = record.text()
        if stored is None:
            self._added.add(record.document)
        else:
            self._changed.add(lambda: {"before": before and before.document(), "after": record.document()})

    def _read(self, cells: Mapping[str, str], target: Target | None) -> _Read:
        """The override in a row; with a target, it has to fit the rules."""
        if target is not None and target.kind == USER and address_in(target.name) is not None:
            return [(USER, "is an address, not a user id; put it into the column address")]
        if target is not None and (name := unknown_attribute(target, self._identity)) is not None:
            return [(ATTRIBUTES, f"no identity source names the attribute {name}")]
        # What fits the rules depends on whose buckets there are, and not on the names.
        key = (
            f"{target.kind} {target.holder.name}" if target else "",
            *(each for pair in cells.items() for each in pair),
        )
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = self._known[key] = self._parse(cells, target)
        return found

    def _parse(self, cells: Mapping[str, str], target: Target | None) -> _Read:
        body = JsonObject(_members(cells))
        try:
            return read_override(body, target, self._rules, self._now) if target else parse_override(body)
        except InvalidObjectError as error:
            return _errors(error)

    def _note_removed(self, stored: bytes) -> None:
        record = self._record(stored)
        if record is None:
            self._removed.add(lambda: {"unreadable": True})
        elif record.override.expires_at > self._now:
            self._removed.add(record.document)

    def _record(self, stored: bytes) -> OverrideRecord | None:
        try:
            return self._reader.read(stored)
        except ValueError:  # a newer version has stored it
            return None

    def _refuse_cells(self, row: Row, errors: Iterable[_Error]) -> None:
        places = [
            (row.place(self._columns.get(column, len(self._columns))), column, detail) for column, detail in errors
        ]
        for place, column, detail in sorted(places):
            self._refuse(*place, f"{column}: {detail}")


def _members(cells: Mapping[str, str]) -> dict[str, Any]:
    """The members of JSON that cells stand for."""
    members: dict[str, Any] = dict(cells)
    for name in _LISTS:
        if name in cells:
            members[name] = cells[name].split(" ")
    for name in ("burst", "at_once"):
        if name in cells and cells[name].isascii() and cells[name].isdigit():
            members[name] = int(cells[name][:20])
    return members


def _errors(error: InvalidObjectError) -> list[_Error]:
    found: Sequence[Mapping[str, str]] = error.members["errors"]
    return [(each["pointer"].removeprefix("#/"), _IN_A_ROW.get(each["detail"], each["detail"])) for each in found]


async def format_plan(records: Iterable[OverrideRecord]) -> bytes:
    """A file of overrides, which sets these. Requests get their turn while it is made."""
    parts = [format_row(COLUMNS)]
    for place, record in enumerate(records):
        if place % _AT_A_TIME == _AT_A_TIME - 1:
            await asyncio.sleep(0)
        parts.append(format_row(list(_cells(record))))
    return "".join(parts).encode()


def _cells(record: OverrideRecord) -> Iterator[str]:
    document = record.members()
    for name in COLUMNS:
        value = document.get(name, "")
        yield " ".join(value) if name in _LISTS else str(value)
