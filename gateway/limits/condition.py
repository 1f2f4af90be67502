"""`Condition`: a header or query key that a request must have, with one of some values.

A condition decides by one value, so what it reads must have one. A request in which servers could find another value
than the gateway does is rejected, but only where a condition reads it:

======================================================  ===============================================================
what is read                                            how
======================================================  ===============================================================
a header                                                by its name in any case, without the white space around its
                                                        value (RFC 9110 section 5.5), and only if it goes upstream
a header more than once                                 rejected: servers take the first, the last, or join them
the query                                               as forms are (WHATWG URL, application/x-www-form-urlencoded):
                                                        ``%41`` is ``A``, ``+`` is a space
``?format=`` and ``?format``                            an empty value
a key more than once                                    rejected: servers take the first, the last, or a list
``Format``, ``format[]``, ``for.mat`` for ``for_mat``   rejected: some servers find the same key there
``;`` in the value, or before the key                   rejected: some servers end a value there
``%`` without two hex digits, bytes that are not UTF-8  rejected, in names and in the value of the key
encoded twice, control bytes                            rejected, in names and in the value of the key
======================================================  ===============================================================
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Protocol
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from gateway.limits.unmatched import Unmatched

HEADER, QUERY = "header", "query"

Key = tuple[str, str]
"""What a condition reads: `HEADER` and a name in lower case, or `QUERY` and a key."""

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED_AGAIN = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RequestFields(Protocol):
    """What conditions read of a request: the head of one that is served, or `GivenFields`."""

    @property
    def query(self) -> str:
        """The query as the client sent it, without the question mark."""

    def header(self, name: str) -> Sequence[str]:
        """All values of a header, named in lower case, that go upstream."""


@dataclass(frozen=True, slots=True)
class GivenFields:
    """Headers and a query that nobody sent.

    Attributes:
        headers: Names and values.
        query: Without the question mark.
    """

    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""

    def header(self, name: str) -> Sequence[str]:
        """All values of a header, named in lower case."""
        return [value for given, value in self.headers if given.lower() == name]


NO_FIELDS = GivenFields()


class Condition(NamedTuple):
    """What a request must have.

    Attributes:
        source: `HEADER` or `QUERY`.
        name: The header's name, or the key in the query, as the operator wrote it.
        values: Of which the request must have one, exactly.
    """

    source: str
    name: str
    values: frozenset[str]

    @property
    def key(self) -> Key:
        """What it reads."""
        return self.source, self.name.lower() if self.source == HEADER else self.name

    @property
    def title(self) -> str:
        """What it reads, in words."""
        return f"the header {self.name}" if self.source == HEADER else f"the query key {self.name}"

    def __str__(self) -> str:
        return f"{self.title} to be {' or '.join(value or 'empty' for value in sorted(self.values))}"


def values_by_name(conditions: Iterable[Condition]) -> dict[str, list[str]]:
    """Conditions in the form of the rule files."""
    return {condition.name: sorted(condition.values) for condition in conditions}


def read(fields: RequestFields, key: Key) -> str | Unmatched | None:
    """The one value that a condition reads; None if the request has none."""
    source, name = key
    if source == QUERY:
        return _read_query(fields.query, name) if fields.query else None
    values = fields.header(name)
    if len(values) > 1:
        return Unmatched.CONDITION
    return values[0].strip(" \t") if values else None


def _read_query(query: str, key: str) -> str | Unmatched | None:
    pieces = query.replace(";", "&").split("&")
    names = _decode("&".join([piece.partition("=")[0] for piece in pieces]))
    if names is None:
        return Unmatched.CONDITION
    names = _fold(names)
    alike = list(islice(_alike(key).finditer(names), 2))
    if not alike:
        return None
    if len(alike) > 1 or names.count("&") >= len(pieces):  # an escaped & in a name
        return Unmatched.CONDITION
    piece = pieces[names.count("&", 0, alike[0].end())]
    name, _, raw = piece.partition("=")
    value = _decode(raw)
    if piece not in query.split("&") or _decode(name) != key or value is None:
        return Unmatched.CONDITION
    return value


@lru_cache(maxsize=1024)
def _alike(key: str) -> re.Pattern[str]:
    """Finds the names that some servers take for a key, among names that `_fold` returns, with ``&`` between them."""
    # PHP makes variables of names: it takes off what begins with a bracket, and writes spaces and dots as underscores.
    letters = ("[_. ]" if letter in "_. " else re.escape(letter) for letter in _fold(key))
    return re.compile(rf"(?:^|(?<=&)) *{''.join(letters)} *(?=[&\[]|$)")


def _decode(raw: str) -> str | None:
    """Names or a value without escapes; None if servers read them in different ways."""
    if "%" not in raw:
        return raw.replace("+", " ")
    if _BAD_ESCAPE.search(raw):
        return None
    try:
        text = unquote_to_bytes(raw.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return None
    return None if _ESCAPED_AGAIN.search(text) or _CONTROL.search(text) else text


def _fold(names: str) -> str:
    """Names in a form in which those that differ by case, or by Unicode's form, are the same."""
    return (names if names.isascii() else normalize("NFKC", names)).casefold()
