"""One reading of a path, so that no spelling of a resource reaches it through a looser endpoint.

The path is always forwarded as it came, byte for byte, and matched in its canonical form. A spelling is either
normalised to that form, because servers commonly treat both as the same resource, or rejected, because servers disagree
on which resource it names:

===================================  =========  ====================================================================
spelling                             policy     reason
===================================  =========  ====================================================================
``%41`` for ``A``                    normalise  RFC 3986 section 6.2.2.2
``//``, a slash at the end           normalise  most servers fold them
``/Orders`` for ``/orders``          normalise  some servers ignore case (setting ``case_sensitive``)
fullwidth letters, ligatures         normalise  some servers treat them as the plain ones (Unicode's form NFKC)
soft hyphens, zero-width characters  normalise  some file systems and comparisons ignore them
``;name=value`` after a segment      normalise  servlet containers strip it (RFC 3986 section 3.3), also encoded
dots and spaces after a segment      normalise  Windows drops them from file names; some servers trim white space
spaces before a segment              normalise  servers that trim white space do so at both ends
``%3F``, ``%23`` in the last segment normalise  servers that decode too early find a query or a fragment there
``%3F``, ``%23`` in any other        reject     to some servers the path ends there
``/./``, ``/../``, also encoded      reject     clients resolve these before sending (RFC 3986 section 5.2.4)
``/.../``, only dots and spaces      reject     Windows treats some of them as ``.`` and ``..``
``%2F``                              reject     a slash to some, a letter to others (setting ``encoded_slash``)
backslash, ``%5C``                   reject     a slash to some
encoded twice (``%252e``)            reject     some servers decode twice
control bytes, NUL, also encoded     reject     some servers cut the path there
bytes that are not UTF-8, bare       reject     RFC 3986 has no such characters; overlong forms hide slashes
``%`` without two hex digits         reject     RFC 3986 section 2.1; ``%u0041`` is a letter to IIS
``#``                                reject     a fragment is never sent (RFC 9110 section 7.1)
more than 256 slashes                reject     no resource is so deep, and matching would take milliseconds
===================================  =========  ====================================================================

``/orders.json`` is left as it is: it is another resource than ``/orders``. Where a framework serves both (Rails, older
Spring), the operator has to limit both.
"""

import re
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

_PLAIN: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,:=@/-]*")
"""Paths that are canonical except for case, if no segment is empty or ends with a dot."""

_BAD_BYTE: Final = re.compile(r"[^\x21-\x7e]|[\\#]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED_AGAIN: Final = re.compile(r"%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_SUFFIX: Final = re.compile(r"[;?#].*")
_BLANK: Final = " \u1680\u2028\u2029"
"""The white space that remains in form NFKC, without control bytes."""

_TRIMMED: Final = f".{_BLANK}"
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point, as far as it remains in form NFKC."""

_MAX_SLASHES: Final = 256
_TURKISH: Final = str.maketrans("\u0130\u0131", "ii")
"""Capital I with a dot and small i without one: to servers that ignore case, each is an i."""


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """How to read a path where servers differ.

    Attributes:
        case_sensitive: Treat ``/Orders`` and ``/orders`` as two paths. Only safe if the upstream does.
        encoded_slash: ``reject`` a path with ``%2F``, or let it ``pass`` as a letter within its segment.
    """

    case_sensitive: bool = False
    encoded_slash: str = "reject"

    def segments(self, path: str) -> tuple[str, ...] | None:
        """The canonical form of `path`, split at its slashes; None if it has to be rejected."""
        if path.count("/") > _MAX_SLASHES:
            return None
        if _PLAIN.fullmatch(path) is None or "//" in path or "./" in path or path[-1] in "/.":
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
            name = _SUFFIX.sub("", text)
            if name:
                folded.append(self._fold_case(name.rstrip(_TRIMMED).lstrip(_BLANK)))
        return tuple(folded)

    def _decode(self, raw: str) -> str | None:
        """One segment without escapes; None if the path has to be rejected because of it."""
        try:
            text = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            return None
        if not text.isascii():
            text = _INVISIBLE.sub("", normalize("NFKC", text))
        if _CONTROL.search(text) or _ESCAPED_AGAIN.search(text):
            return None
        return None if "/" in text and self.encoded_slash == "reject" else text

    def _fold_case(self, name: str) -> str:
        return name if self.case_sensitive else name.translate(_TURKISH).casefold()


def _is_dots(part: str) -> bool:
    """Whether some servers treat a part of a path as ``.`` or ``..`` when they strip what follows it."""
    name = _SUFFIX.sub("", part)
    return bool(name) and not name.strip(_TRIMMED)
