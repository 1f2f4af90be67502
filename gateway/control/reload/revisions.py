"""`Revisions`: the accepted rule sets of a gateway, numbered, in files of its state folder.

`revisions/N.json` is revision N; `revisions/in-force.json` says which one is in force (see `InForce`). Each file is
replaced as a whole, and holds a digest of what is in it: one that is damaged is named, and the others are of use.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.control.durable_file import replace_file
from gateway.control.errors import NoRevisionError, RevisionsUnavailableError
from gateway.control.reload.in_force import InForce
from gateway.control.reload.rule_files import RuleFiles

MOST = 50
"""Revisions that are kept."""

_NAME = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Revision:
    """An accepted rule set.

    Attributes:
        number: From 1, in the order in which this gateway accepted them.
        time: When, in ISO 8601.
        actor: Who reloaded; ``(start)`` if a gateway started with them.
        source: From where.
        revision: The checksum of the rules.
        previous: The checksum of the rules before; empty if unknown.
        changed: The difference between the two.
        files: The rule files, and the tests they were accepted with.
    """

    number: int
    time: str
    actor: str
    source: str
    revision: str
    previous: str
    changed: dict[str, Any] = field(default_factory=dict)
    files: RuleFiles = field(default_factory=lambda: RuleFiles({}))

    def document(self) -> dict[str, Any]:
        """As JSON, with the files."""
        return {**self.summary(), "files": self.files.texts}

    def summary(self) -> dict[str, Any]:
        """As JSON, without the files."""
        return {
            "number": self.number,
            "time": self.time,
            "actor": self.actor,
            "source": self.source,
            "revision": self.revision,
            "previous": self.previous,
            "changed": self.changed,
        }


class Revisions:
    """The revisions of a gateway. All methods block.

    Args:
        state: The state folder; None without one, and then no revision is kept.
    """

    def __init__(self, state: Path | None) -> None:
        self._folder = state / "revisions" if state else None
        self._in_force = InForce()
        self._seen: tuple[int, int, int] | None = None

    @property
    def are_kept(self) -> bool:
        """Whether there is a folder for them."""
        return self._folder is not None

    @property
    def in_force(self) -> InForce:
        """What is in force, as it was last read or written. Does not block."""
        return self._in_force

    def refresh(self) -> InForce:
        """Read what is in force, if the file has changed.

        Raises:
            RevisionsUnavailableError: the file is damaged, or cannot be read.
        """
        if self._folder is None:
            return self._in_force
        file = self._folder / "in-force.json"
        try:
            found = file.stat()
            seen = found.st_ino, found.st_mtime_ns, found.st_size
            if seen != self._seen:
                self._in_force = InForce.of_document(_read(file))
                self._seen = seen
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(file, error) from None
        return self._in_force

    def latest(self) -> InForce:
        """What is in force, read if the file has changed; as it was last known if the file is damaged."""
        with suppress(RevisionsUnavailableError):  # which `Confirmation` logs
            self.refresh()
        return self._in_force

    def put(self, in_force: InForce) -> None:
        """Note what is in force. It is on disk when this returns.

        Raises:
            RevisionsUnavailableError: it is not, and what was in force before still is.
        """
        if self._folder is not None and self._in_force != in_force:
            file = self._folder / "in-force.json"
            _write(file, in_force.document())
            found = file.stat()
            self._seen = found.st_ino, found.st_mtime_ns, found.st_size
        self._in_force = in_force

    def remember(self, in_force: InForce) -> None:
        """Go by this until something else is put, though it is not on disk."""
        self._in_force = in_force

    def numbers(self) -> list[int]:
        """The numbers of the revisions that are kept, the newest first."""
        if self._folder is None or not self._folder.is_dir():
            return []
        found = (file.stem for file in self._folder.glob("*.json"))
        return sorted((int(stem) for stem in found if _NAME.fullmatch(stem)), reverse=True)

    def next_number(self) -> int:
        """That of the next revision."""
        return max([self._in_force.number, *self.numbers()]) + 1

    def get(self, number: int) -> Revision:
        """A revision.

        Raises:
            NoRevisionError: there is none with this number.
            RevisionsUnavailableError: its file is damaged or cannot be read.
        """
        if self._folder is None:
            raise NoRevisionError(f"there is no revision {number}: none is kept, because control.state is not set")
        file = self._folder / f"{number}.json"
        try:
            members = _read(file)
            return Revision(**{**members, "files": RuleFiles.of_texts(members["files"])})
        except FileNotFoundError:
            raise NoRevisionError(
                f"there is no revision {number}; the last {MOST} are kept, see GET /api/v1/admin/revisions"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(file, error) from None

    def find(self, checksum: str) -> int:
        """The number of the last revision with a checksum.

        Raises:
            NoRevisionError: there is none.
        """
        for each, _ in self.all():
            if each is not None and each.revision == checksum:
                return each.number
        raise NoRevisionError(f"this gateway has no revision of rules {checksum}")

    def all(self) -> list[tuple[Revision | None, str]]:
        """All revisions, the newest first; of one that is damaged, what is wrong with it."""
        found: list[tuple[Revision | None, str]] = []
        for number in self.numbers():
            try:
                found.append((self.get(number), ""))
            except NoRevisionError:
                continue  # removed meanwhile
            except RevisionsUnavailableError as error:
                found.append((None, str(error)))
        return found

    def add(self, revision: Revision) -> None:
        """Keep a revision, and remove the oldest if there are too many. It is on disk when this returns.

        Raises:
            RevisionsUnavailableError: it is not.
        """
        if self._folder is None:
            return
        _write(self._folder / f"{revision.number}.json", revision.document())
        pending = self._in_force.pending
        needed = {self._in_force.number, pending.previous if pending else 0}
        for number in self.numbers()[MOST:]:
            if number not in needed:
                self.remove(number)

    def remove(self, number: int) -> None:
        """Remove a revision, if that is possible."""
        if self._folder is not None:
            with suppress(OSError):
                (self._folder / f"{number}.json").unlink()


def _read(file: Path) -> Any:
    whole = json.loads(file.read_bytes())
    if sha256(json.dumps(whole["content"]).encode()).hexdigest() != whole["sha256"]:
        raise ValueError("its content does not match its digest")
    return whole["content"]


def _unreadable(file: Path, error: Exception) -> RevisionsUnavailableError:
    if isinstance(error, OSError):
        return RevisionsUnavailableError(f"{file} cannot be read: {error.strerror}")
    return RevisionsUnavailableError(f"{file} is damaged: {error}")


def _write(file: Path, content: Any) -> None:
    whole = {"sha256": sha256(json.dumps(content).encode()).hexdigest(), "content": content}
    try:
        replace_file(file, [json.dumps(whole, indent=1).encode()])
    except OSError as error:
        raise RevisionsUnavailableError(f"{file} cannot be written: {error.strerror}") from error
