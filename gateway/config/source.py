"""`Source`: a YAML file that is being read, and the bounds on what is read from it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from gateway.config.diagnostic import Diagnostic, Findings, InvalidError

_DEEPEST = 32
"""Levels of nesting; libyaml's composer recurses in C, and would crash at some depth."""
_LARGEST = 64 * 1024 * 1024
_MAX_VALUES = 1_000_000
"""Values read from a file, each alias counted in full: bounds what a small file can expand to."""

_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not allow, and what it takes for a line break but editors do not (U+0085, U+2028, U+2029)."""
_MEANT = {
    "but found another document": "a second document starts here; a file holds one document, so remove the ---",
    "cannot start any token": "not YAML: a tab, @, ` or % is not allowed here; indent with spaces, put texts in quotes",
    "expected node content": "not YAML: no value can start here; close what is open, or put the value in quotes",
    "mapping values are not allowed": "not YAML: a colon is not allowed here; check the indentation, or use quotes",
}
"""What PyYAML says, and what it means for an operator."""
_LINE = re.compile("\r\n?|\n")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Source:
    """A file that is being read.

    Attributes:
        name: As the operator named it; or a flag.
        folder: What paths in it are relative to.
        findings: Where problems are noted.
        content: The file's bytes, once it has been read.
        variables: What ``${NAME}`` in its values stands for; None if it means nothing there.
    """

    name: str
    folder: Path
    findings: Findings
    content: bytes = field(default=b"", repr=False)
    variables: Mapping[str, str] | None = field(default=None, repr=False)
    _left: int = field(default=_MAX_VALUES, repr=False)

    @classmethod
    def of(cls, path: Path, findings: Findings, variables: Mapping[str, str] | None = None) -> "Source":
        """The file at `path`."""
        return cls(str(path), path.parent, findings, variables=variables)

    def spend(self, values: int) -> bool:
        """Count values as read. Returns whether the file has not expanded to too many."""
        self._left -= values
        return self._left >= 0

    def compose(self, *, may_be_blank: bool = False) -> yaml.Node:
        """Read the file into YAML nodes.

        Args:
            may_be_blank: Whether a file with nothing but comments is an empty mapping. One with nothing at all is not:
                it may be one that somebody is writing.

        Raises:
            InvalidError: it cannot be read, is empty, or is not one YAML document in UTF-8.
        """
        text = self._text()
        try:
            _measure(yaml.parse(text, Loader=_LOADER))
            node = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            raise self._misread(error) from None
        except yaml.YAMLError as error:
            raise self._refuse(f"not YAML: {error}") from None
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            if may_be_blank and "#" in text:
                self.findings.warnings.append(Diagnostic(self.name, 0, 0, "", "the file has nothing but comments"))
                return yaml.MappingNode("tag:yaml.org,2002:map", [])
            raise self._refuse("the file is empty")
        return node

    def _text(self) -> str:
        try:
            with Path(self.name).open("rb") as file:
                content = file.read(_LARGEST + 1)
        except (OSError, ValueError) as error:
            raise self._refuse(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if len(content) > _LARGEST:
            raise self._refuse(f"the file is larger than {_LARGEST >> 20} MiB")
        self.content = content
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line, column = _position(content[: error.start].decode())
            byte = content[error.start]
            raise self._refuse(f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8", line, column) from None
        text = text.removeprefix("\ufeff")
        bad = _UNREADABLE.search(text)
        if bad:
            line, column = _position(text[: bad.start()])
            raise self._refuse(f"the character U+{ord(bad[0]):04X} is not allowed in a YAML file", line, column)
        return text

    def _refuse(self, message: str, line: int = 0, column: int = 0) -> InvalidError:
        self.findings.problems.append(Diagnostic(self.name, line, column, "", message))
        return InvalidError()

    def _misread(self, error: yaml.MarkedYAMLError) -> InvalidError:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = next((meant for part, meant in _MEANT.items() if part in (error.problem or "")), "")
        if not message:
            message = f"not YAML: {error.context}, {error.problem}" if error.context else f"not YAML: {error.problem}"
            if error.context_mark and error.context_mark.line + 1 != line:
                message += f"; it begins on line {error.context_mark.line + 1}"
        return self._refuse(message, line, column)


def _measure(events: Iterator[yaml.Event]) -> None:
    """Refuse what is nested too deeply, before anything recurses."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                problem = f"nested more than {_DEEPEST} deep"
                raise yaml.MarkedYAMLError(None, None, problem, event.start_mark)  # type: ignore[arg-type]
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows `before`."""
    lines = _LINE.split(before.removeprefix("\ufeff"))
    return len(lines), len(lines[-1]) + 1
