"""`Reader`: reads a value of a YAML file, and says in words and as JSON Schema what may stand there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gateway.config.node import Node

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)

Schema = dict[str, Any]
"""JSON Schema. A reader within it stands for that reader's schema, which `schema.schema_text` writes out."""


class Reader(Protocol[T_co]):
    """Reads a value, or refuses it: a `Value` or a `Section`."""

    @property
    def words(self) -> str:
        """What may stand there, such as "duration"."""

    @property
    def schema(self) -> Schema:
        """What may stand there, as JSON Schema."""

    def __call__(self, node: Node, /) -> T_co:
        """The value.

        Raises:
            InvalidError: it cannot be used; why has been noted.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Value(Generic[T]):
    """A reader of anything but a section.

    Attributes:
        read: Reads a node.
        words: What may stand there.
        schema: The same as JSON Schema.
        show: A value as an operator writes it.
    """

    read: Callable[[Node], T]
    words: str
    schema: Schema
    show: Callable[[T], str] = str

    def __call__(self, node: Node, /) -> T:
        return self.read(node)

    def then(self, make: Callable[[T], U]) -> "Value[U]":
        """A reader of what `make` makes of the value."""
        return Value(lambda node: make(self.read(node)), self.words, self.schema)


def reads(words: str, schema: Schema, show: Callable[[Any], str] = str) -> Callable[[Callable[[Node], T]], Value[T]]:
    """Make a reader of a function."""
    return lambda read: Value(read, words, schema, show)


def string(pattern: str) -> Schema:
    """A text."""
    return {"type": "string", "pattern": pattern}


def scalar(pattern: str = "", **more: Any) -> Schema:
    """Any scalar, as it is written: ``404`` is a number to YAML and editors, and a text to our readers."""
    form = {"pattern": pattern} if pattern else {"minLength": 1}
    return {"type": ["string", "number", "boolean"], **form, **more}
