"""Path patterns of other products, and what they are here.

A wildcard (``/v1/*``, ``/v1/+``), a parameter (``:id``, ``<int:id>``, ``{id:[0-9]+}``, ``$id``, ``[id]``) or a regular
expression (``/v1/(.*)``) is refused by `Template.parse`. What it was meant to say is a guess, and only becomes a hint.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from gateway.limits.endpoint import Template

_RULE = re.compile(r"^Path(?P<kind>Prefix|Regexp)?\(`(?P<path>[^`]*)`\)$")
"""A path in Traefik's language of rules."""
_ESCAPED = re.compile(r"\\([/._~-])")
_BEFORE = re.compile(
    r"^\(\?[a-z]+\)|^[^/^]*\s(?=[/^])|^https?://[^/]+|^\w+:(?=[/^])|^[=~]\*?(?=[/^])|^[\w-]+(\.[\w-]+)+(:\d+)?(?=/)"
)
"""What stands in front of a path: a method or a host as in Go, an operator as in nginx."""
_AFTER = re.compile(r"(/\??|\(\?:/\|\$\)|\(/\|\$\))?(\$|\\[zZ])$|(?<=\w)/\?$")
"""What stands behind one: the end of a regular expression, with a slash or without."""
_QUERY = re.compile(r"\?(?=\w+=|$)|(?<=\w)#(?=\w)")
_BELOW = re.compile(r"\((\?:)?/(\|\$\)(\(\.\*\))?|\.\*\)\??)\$?$")
"""All that is below a path, and the path itself: ``(/|$)(.*)``, ``(/.*)?``."""
_OPTIONAL = re.compile(r"[\[(](/[\w:{}<>]+)[\])]\??")
_OPENING, _CLOSING = "([{<", ")]}>"
_SIGNS = re.compile(r"[*:$(){}\[\]<>^\\+?#]|^\.{3}$|\u2026")
"""What a pattern has."""
_WITHIN_SEGMENT = re.compile(r"(\[[^\]]*\]|\\[a-zA-Z])([*+?]|\{[0-9,]*\})+|\[\^?(\w-\w)+\]")
"""Any number of certain characters, such as ``[^/]+`` or ``\\d{4}``."""
_BEYOND_SEGMENT = re.compile(r"(?<!=)[*#>](?!\.\w)|(?<=.)(?<!=)\+(?!\.\w)|=\*\*|\.{2}|\u2026|\bpath\b|^\$$")
_PREFIX = re.compile(r"([A-Za-z0-9._~-]*[A-Za-z0-9_~-])(\*+|\(?\.[*+]\)?|\.{3})")
_SUFFIX = re.compile(r"([A-Za-z0-9._~-]*[A-Za-z0-9_~-])\(.*\)\??")
_NAME = re.compile(r"(?:(?<=[:$<{\[*+(])|(?<=\.\.))[A-Za-z_][A-Za-z0-9_-]*")
_TYPES = frozenset({"int", "integer", "path", "string", "str", "float", "uuid", "slug", "regex", "re", "P"})


def nearest_template(text: str) -> str:
    """The template that a path of another product comes closest to; empty if there is none."""
    rule = _RULE.fullmatch(text)
    if rule is not None:
        text = rule["path"] + "/*" * (rule["kind"] == "Prefix")
    path = _BEFORE.sub("", _ESCAPED.sub(r"\1", text)).removeprefix("^")
    path = _QUERY.split(_AFTER.sub("", _BELOW.sub("/*", path)), maxsplit=1)[0]
    path = _OPTIONAL.sub(r"\1", path)
    if "|" in path or re.search(r"\{[A-Za-z_][^}:]*,", path):
        return ""  # several paths, and so several endpoints
    parts = list(filter(None, _segments(path)))
    names: set[str] = set()
    written = [_translate(part, names, is_last=place == len(parts)) for place, part in enumerate(parts, 1)]
    try:
        return Template.parse("/" + "/".join(written)).text
    except ValueError:
        return ""


def _segments(path: str) -> Iterator[str]:
    """Split at slashes, but not at those within brackets."""
    depth, start = 0, 0
    for place, sign in enumerate(path):
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth = max(0, depth - 1)
        elif sign == "/" and not depth:
            yield path[start:place]
            start = place + 1
    yield path[start:]


def _translate(part: str, names: set[str], *, is_last: bool) -> str:
    """A segment as a template has it. What cannot be translated stays as it is, and makes no template."""
    try:
        Template.parse(f"/{part}")
    except ValueError:
        pass
    else:
        names.add(part.strip("{.}"))
        return part
    if not _SIGNS.search(part):
        return unquote(part).rstrip(".")
    prefix = _PREFIX.fullmatch(part)
    if prefix and is_last:
        return f"{prefix[1]}/{{{_free('rest', names)}...}}"
    suffix = _SUFFIX.fullmatch(part)
    if suffix:
        return suffix[1]
    core = _WITHIN_SEGMENT.sub("", part)
    is_open = is_last and _BEYOND_SEGMENT.search(re.sub("<[^>]*>", lambda tag: tag[0].rstrip(">"), core)) is not None
    named = sorted(_NAME.findall(core), key=_TYPES.__contains__) or ["rest" if is_open else "id"]
    name = named[0].strip("-").replace("-", "_")
    return f"{{{_free(name, names)}{'...' if is_open else ''}}}"


def _free(name: str, names: set[str]) -> str:
    """A name that no other parameter of the path has."""
    free = name
    while free in names:
        free += "_"
    names.add(free)
    return free
