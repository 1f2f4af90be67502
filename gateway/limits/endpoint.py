"""`Endpoint`: a named set of requests, with the host, path, methods and conditions that select them."""

import re
from dataclasses import dataclass
from typing import Final, Self

from gateway.limits.condition import Condition
from gateway.limits.measured_cost import MeasuredCost
from gateway.limits.priority import Priority

DEFAULT: Final = "default"
"""Name of the endpoint of all requests that match no other."""

METHODS: Final = frozenset({
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
    "ACL", "BIND", "COPY", "LINK", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "REBIND", "SEARCH", "UNBIND",
    "UNLINK", "UNLOCK",  # WebDAV and its extensions
    "CHECKOUT", "MERGE", "MKACTIVITY", "MKCALENDAR", "REPORT",  # versions and calendars (RFC 3253, RFC 4791)
    "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",  # UPnP and caches
})  # fmt: skip
"""Methods that the parser takes and the proxy forwards. Any other gets a 400 or 405, whatever the rules say.

CONNECT is none: a tunnel would get round every rule. Nor is TRACE, which would reveal what proxies in front of the
gateway have added. Those of RTSP and Icecast, which the parser accepts as HTTP, are not served either."""

_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,:=@-]+")
_PATTERN: Final = re.compile(
    r"\*|\.\+|^\+$|^[$:(]|\$$|(?<![A-Za-z0-9])\$(?=[A-Za-z_])|(?<![A-Za-z0-9:]):(?=[A-Za-z_])|(?<![A-Za-z0-9_])\(|\(\."
)
"""What other products have in place of ``{id}``: wildcards, a lone ``+``, ``:id``, ``$id`` and regular expressions.
Where a literal would look like that, the character is written as a %-escape."""
_ESCAPE: Final = re.compile("%(24|28|2A|2B|3A)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Template:
    """A path with parameters: ``{id}`` matches one segment, ``{rest...}`` at the end all that follow, or none.

    Attributes:
        text: As the operator wrote it.
        segments: The path split at its slashes: a literal, or None for ``{id}``.
        open_ended: Whether it ends in ``{rest...}``.
    """

    text: str
    segments: tuple[str | None, ...]
    open_ended: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a template such as ``/v1/orders/{id}`` or ``/files/{rest...}``.

        Raises:
            ValueError: it does not start with a slash, a parameter is not a whole segment or repeats a name, or a
                literal is not in its canonical, unescaped form, see `gateway.limits.path`, or looks like a pattern of
                another product.
        """
        if not text.startswith("/"):
            raise ValueError("a path starts with /")
        parts = text[1:].split("/") if text != "/" else []
        names: set[str] = set()
        segments: list[str | None] = []
        open_ended = False
        for position, part in enumerate(parts):
            parameter = _PARAMETER.fullmatch(part)
            if parameter is None:
                segments.append(_literal(part))
                continue
            if parameter[1] in names:
                raise ValueError(f"{{{parameter[1]}}} occurs twice in this path; give each parameter its own name")
            names.add(parameter[1])
            if parameter[2] is None:
                segments.append(None)
            elif position == len(parts) - 1:
                open_ended = True
            else:
                raise ValueError(f"{part} matches all segments that follow, so it must be the last")
        return cls(text, tuple(segments), open_ended)


def _literal(part: str) -> str:
    if not part:
        raise ValueError("a segment is empty; write the path without // and without a slash at the end")
    if "{" in part or "}" in part:
        raise ValueError(f"{part!r}: a parameter is a whole segment, as in /{{id}}/ or /{{rest...}} at the end")
    pattern = _PATTERN.search(part)
    if pattern is not None:
        sign = pattern[0][-1]
        raise ValueError(
            f"{part!r} looks like a pattern of another product; here, {{id}} is one segment, and {{rest...}} at the "
            f"end is all that follow; if the path really has {sign!r}, write %{ord(sign):02X}"
        )
    plain = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), part)
    if _LITERAL.fullmatch(plain) is None:
        raise ValueError(f"{part!r}: write letters, digits and -._~!$&'()*+,:=@ only, without % escapes")
    if plain.endswith("."):
        raise ValueError(f"{part!r}: remove the dots at the end; they are ignored in requests, too")
    return plain


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A named set of requests.

    Attributes:
        name: Unique; a metric label, and part of its buckets' keys.
        template: Paths that belong to it; None for the default endpoint, which gets all other requests.
        methods: Methods that belong to it, in upper case; empty for all.
        host: The Host that requests must have, in lower case and without port; None for any.
        headers: Conditions on headers that requests must meet, all of them.
        query: Conditions on the query, likewise.
        upstream: Name of the upstream that serves it.
        cost: Tokens that a request takes from each bucket, or is estimated to take.
        measured_cost: How its cost is found when it has ended; None if `cost` is known to be right.
        max_body: Bytes that a request body may have; None for the gateway's own maximum.
        priority: How much its requests matter; None for as much as the caller's tier says.
    """

    name: str
    template: Template | None = None
    methods: frozenset[str] = frozenset()
    host: str | None = None
    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()
    upstream: str = DEFAULT
    cost: int = 1
    measured_cost: MeasuredCost | None = None
    max_body: int | None = None
    priority: Priority | None = None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of its conditions."""
        return self.headers + self.query
