"""`Endpoint`: a named set of requests, and the path template that says which."""

import re
from dataclasses import dataclass
from typing import Self

DEFAULT = "default"
"""Name of the endpoint that every request falls into which matches no other."""

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,:=@-]+")


@dataclass(frozen=True, slots=True)
class Template:
    """A path with holes: ``{id}`` stands for one segment, ``{rest...}`` at the end for all that follow, or none.

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
        """Read a template such as ``/v1/orders/{id}`` or ``/files/{rest...}``.

        Raises:
            ValueError: it does not start with a slash, a hole is not a whole segment or repeats a name, or a literal is
                not in its canonical, unescaped form, see `gateway.limits.path`.
        """
        if not text.startswith("/"):
            raise ValueError("a path starts with /")
        parts = text[1:].split("/") if text != "/" else []
        names: set[str] = set()
        segments: list[str | None] = []
        open_ended = False
        for position, part in enumerate(parts):
            hole = _PARAMETER.fullmatch(part)
            if hole is None:
                segments.append(_literal(part))
                continue
            if hole[1] in names:
                raise ValueError(f"{{{hole[1]}}} stands twice in this path; give each hole its own name")
            names.add(hole[1])
            if hole[2] is None:
                segments.append(None)
            elif position == len(parts) - 1:
                open_ended = True
            else:
                raise ValueError(f"{part} swallows all that follows, so it can only stand at the end")
        return cls(text, tuple(segments), open_ended)


def _literal(part: str) -> str:
    if not part:
        raise ValueError("an empty segment; write the path without // and without a slash at the end")
    if "{" in part or "}" in part:
        raise ValueError(f"{part!r}: a hole is a whole segment, as in /{{id}}/ or /{{rest...}} at the end")
    if _LITERAL.fullmatch(part) is None:
        raise ValueError(f"{part!r}: write letters, digits and -._~!$&'()*+,:=@ only, without % escapes")
    if part.endswith("."):
        raise ValueError(f"{part!r}: leave out the dots at the end, they are left out of what is matched, too")
    return part


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A named set of requests.

    Attributes:
        name: Unique; a metric label, and part of its buckets' keys.
        template: Paths that belong to it; None for the default endpoint, which takes what is left.
        methods: Methods that belong to it, in capitals; empty for all.
        host: The Host it is served under, in lower case and without port; None for any.
        upstream: Name of the upstream that serves it.
        cost: Tokens a request takes from each bucket.
        max_body: Bytes a request's body may have; None for as many as anywhere.
    """

    name: str
    template: Template | None = None
    methods: frozenset[str] = frozenset()
    host: str | None = None
    upstream: str = DEFAULT
    cost: int = 1
    max_body: int | None = None
