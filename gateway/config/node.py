"""`Node`: a value in a YAML file, with its place.

YAML 1.1 turns ``no`` into false, ``1:30`` into 90, ``010`` into 8 and ``2024-01-01`` into a date. None of that happens
here: a scalar is taken as it is written, and the reader of each key says what it may look like.

* A key may appear once in its mapping, at every level.
* Anchors and aliases work (``&plans`` at a value, ``*plans`` to repeat it). Merge keys (``<<``) and tags
  (``!name``) do not: YAML 1.2 dropped the first, and nothing here needs the second.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import yaml

from gateway.config.diagnostic import Diagnostic, InvalidError
from gateway.config.source import Source
from gateway.config.variable import fill, refers

_PLAIN_KEY = re.compile(r"[\w./*-]{1,64}")
_STANDARD = "tag:yaml.org,2002:"
_TAGS = {
    _STANDARD + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "value", "merge")
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and its place.

    Attributes:
        source: The file.
        yaml: The value as PyYAML composed it.
        path: Such as ``limits[3].rate``; empty for the whole file.
    """

    source: Source
    yaml: yaml.Node
    path: str = ""

    def diagnostic(self, message: str, hint: str = "") -> Diagnostic:
        """What is wrong with this value, and where."""
        mark = self.yaml.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        return Diagnostic(self.source.name, line, column, self.path, message, hint)

    def refuse(self, message: str, hint: str = "") -> InvalidError:
        """Note that this value cannot be used. The caller raises what is returned, or continues without the value."""
        self.source.findings.problems.append(self.diagnostic(message, hint))
        return InvalidError()

    def warn(self, message: str) -> None:
        """Note that this value can be used, but may not be intended."""
        self.source.findings.warnings.append(self.diagnostic(message))

    def nearest(self, word: str, words: Collection[str]) -> str:
        """The one of `words` nearest to `word`, quoted; empty when none is near."""
        near = self.source.findings.nearest(word, words)
        return repr(near) if near else ""

    @property
    def place(self) -> str:
        """``file:line``, to point at this value from elsewhere."""
        line = self.diagnostic("").line
        return f"{self.source.name}:{line}" if line else self.source.name

    @property
    def is_scalar(self) -> bool:
        """Whether this is neither a list nor a mapping."""
        return isinstance(self.yaml, yaml.ScalarNode)

    @property
    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.yaml, yaml.SequenceNode)

    def scalar(self, expected: str) -> str:
        """The value as it is written, without its quotes, and with the values of the variables it names.

        Raises:
            InvalidError: it is a list or a mapping, or nothing is written at all, or a variable is not set.
        """
        if not isinstance(self.yaml, yaml.ScalarNode) or (not self.yaml.value and not self.yaml.style):
            raise self.unexpected(expected)
        self._check_tag()
        if self.source.variables is None:
            return str(self.yaml.value)
        try:
            return fill(self.yaml.value, self.source.variables)
        except ValueError as error:
            raise self.refuse(str(error)) from None

    @property
    def has_variables(self) -> bool:
        """Whether the value of an environment variable is part of this one."""
        return self.source.variables is not None and self.is_scalar and refers(self.yaml.value)

    def plain(self, expected: str) -> str:
        """The value as it is written, which must be without quotes: in quotes, a number is a text.

        A variable may be in quotes: YAML wants them within braces.
        """
        text = self.scalar(expected)
        if getattr(self.yaml, "style", None) and not self.has_variables:
            raise self.refuse(f"expected {expected}, found a quoted text; remove the quotes")
        return text

    def items(self) -> list["Node"]:
        """The items of a list.

        Raises:
            InvalidError: it is not a list.
        """
        if not isinstance(self.yaml, yaml.SequenceNode):
            raise self.unexpected("a list")
        self._check_tag()
        self._spend(len(self.yaml.value))
        return [Node(self.source, item, f"{self.path}[{index}]") for index, item in enumerate(self.yaml.value)]

    def entries(self, keys: Collection[str] = ()) -> dict[str, tuple["Node", "Node"]]:
        """The keys and values of a mapping, by key. A duplicate key is noted, and the first one counts.

        Args:
            keys: The known keys, for the message if this is not a mapping; empty if any key is allowed.

        Raises:
            InvalidError: it is not a mapping.
        """
        if not isinstance(self.yaml, yaml.MappingNode):
            known = f"; its keys are {', '.join(sorted(keys))}" if keys else ""
            raise self.refuse(f"expected a mapping of keys to values, found {self._kind()}{known}")
        self._check_tag()
        self._spend(len(self.yaml.value))
        entries: dict[str, tuple[Node, Node]] = {}
        for key, value in self.yaml.value:
            if not isinstance(key, yaml.ScalarNode):
                Node(self.source, key, self.path).refuse("a key is a single word, not a list or a mapping")
                continue
            path = self._below(key.value)
            key_node = Node(self.source, key, path)
            if key.value == "<<":
                key_node.refuse("merge keys (<<) are not supported; write the keys out, or alias a whole value (*name)")
            elif self.source.variables is not None and refers(key.value):
                key_node.refuse("a key takes no variable; only values do")
            elif key.value in entries:
                first = entries[key.value][0].yaml.start_mark.line + 1
                key_node.refuse(f"duplicate key {quote(key.value)}; the first is on line {first}")
            else:
                entries[key.value] = key_node, Node(self.source, value, path)
        return entries

    def unexpected(self, expected: str) -> InvalidError:
        """Refuse this value for its kind."""
        return self.refuse(f"expected {expected}, found {self._kind()}")

    def _spend(self, values: int) -> None:
        if not self.source.spend(values):
            raise self.refuse("aliases make this file too large: it expands to millions of values")

    def _below(self, key: str) -> str:
        name = key if _PLAIN_KEY.fullmatch(key) else quote(key)
        return f"{self.path}.{name}" if self.path else name

    def _kind(self) -> str:
        if isinstance(self.yaml, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.yaml, yaml.SequenceNode):
            return "a list"
        return "a single value" if self.yaml.value else "nothing"

    def _check_tag(self) -> None:
        if self.yaml.tag not in _TAGS:
            raise self.refuse(f"tags such as {quote(self.yaml.tag)} are not supported")


def quote(text: str) -> str:
    """A value in an error message: in quotes, on one line, not too long."""
    return repr(text if len(text) <= 64 else text[:61] + "...")  # noqa: PLR2004
