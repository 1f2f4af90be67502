"""One reading of a path, so that no spelling of a resource reaches it through a looser endpoint.

What is forwarded is always the path as it came, byte for byte. What is matched is its canonical form. A spelling is
either folded into that form, because servers commonly take both for the same resource, or refused, because servers
disagree on which resource it names:

===================================  =========  ====================================================================
spelling                             policy     reason
===================================  =========  ====================================================================
``%41`` for ``A``                    normalise  RFC 3986 section 6.2.2.2
``//``, a slash at the end           normalise  most servers fold them
``/Orders`` for ``/orders``          normalise  some servers ignore case (setting ``case_sensitive``)
fullwidth letters, ligatures         normalise  some servers take them for the plain ones (Unicode's form NFKC)
soft hyphens, zero-width characters  normalise  some file systems and comparisons leave them out
``;name=value`` behind a segment     normalise  servlet containers strip it (RFC 3986 section 3.3), also encoded
dots and spaces behind a segment     normalise  Windows drops them from file names; some trim white space
spaces in front of a segment         normalise  who trims white space does so at both ends
``%3F``, ``%23`` in the last segment normalise  whoever decodes too early reads a query or a fragment there
``%3F``, ``%23`` in any other        reject     the path ends there for some
``/./``, ``/../``, also encoded      reject     clients resolve these before sending (RFC 3986 section 5.2.4)
``/.../``, only dots and spaces      reject     Windows takes some of them for ``.`` and ``..``
``%2F``                              reject     a slash to some, a letter to others (setting ``encoded_slash``)
backslash, ``%5C``                   reject     a slash to some
encoded twice (``%252e``)            reject     decoded twice by some
control bytes, NUL, also encoded     reject     cut the path short in some
bytes that are not UTF-8, bare       reject     RFC 3986 has no such characters; overlong forms hide slashes
``%`` without two hex digits         reject     RFC 3986 section 2.1; ``%u0041`` is a letter to IIS
``#``                                reject     a fragment is never sent (RFC 9110 section 7.1)
more than 256 slashes                reject     nothing lies so deep, and reading it would cost us milliseconds
===================================  =========  ====================================================================

``/orders.json`` is left as it is, another resource than ``/orders``. Where a framework serves both (Rails, older
Spring), the operator limits both.
"""

import re
from dataclasses import dataclass
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

_PLAIN = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,:=@-]+(?<!\.))+")
"""Paths that are their own canonical form but for case: no empty segment, none that ends with a dot."""

_BAD_BYTE = re.compile(r"[^\x21-\x7e]|[\\#]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED_AGAIN = re.compile(r"%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_ATTACHED = re.compile(r"[;?#].*")
_BLANK = " \u1680\u2028\u2029"
"""The white space that is left in form NFKC: all of it but control bytes."""

_LOOSE = f".{_BLANK}"
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point, as far as form NFKC has it."""

_MOST_SLASHES = 256
_TURKISH = str.maketrans("\u0130\u0131", "ii")
"""Capital I with a dot and small i without one: an i to servers that compare letters in either case."""


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """How to read a path where servers differ.

    Attributes:
        case_sensitive: Take ``/Orders`` and ``/orders`` for two paths. Only safe when the upstream does.
        encoded_slash: ``reject`` a path with ``%2F``, or let it ``pass`` as a letter within its segment.
    """

    case_sensitive: bool = False
    encoded_slash: str = "reject"

    def segments(self, path: str) -> tuple[str, ...] | None:
        """The canonical form of `path`, split at its slashes; None when it has to be refused."""
        if path.count("/") > _MOST_SLASHES:
            return None
        if _PLAIN.fullmatch(path) is None:
            return self._fold(path)
        return tuple((path if self.case_sensitive else path.lower()).split("/")[1:])

    def _fold(self, path: str) -> tuple[str, ...] | None:
        if path[:1] != "/" or _BAD_BYTE.search(path) or _BAD_ESCAPE.search(path):
            return None
        folded = []
        ended = False
        for raw in filter(None, path.split("/")):
            text = self._decode(raw)
            if text is None or ended:
                return None
            ended = "?" in text or "#" in text
            if any(_is_dots(part) for part in text.split("/")):
                return None
            name = _ATTACHED.sub("", text)
            if name:
                folded.append(self._equate(name.rstrip(_LOOSE).lstrip(_BLANK)))
        return tuple(folded)

    def _decode(self, raw: str) -> str | None:
        """One segment without escapes; None when the path has to be refused for it."""
        try:
            text = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            return None
        if not text.isascii():
            text = _INVISIBLE.sub("", normalize("NFKC", text))
        if _CONTROL.search(text) or _ESCAPED_AGAIN.search(text):
            return None
        return None if "/" in text and self.encoded_slash == "reject" else text

    def _equate(self, name: str) -> str:
        return name if self.case_sensitive else name.translate(_TURKISH).casefold()


def _is_dots(part: str) -> bool:
    """Whether some servers take a part of a path for ``.`` or ``..``, what is attached to it left out."""
    name = _ATTACHED.sub("", part)
    return bool(name) and not name.strip(_LOOSE)
