r"""`CombinedLog`: parses the common and the combined log format of nginx and Apache.

A line is ``address - user [time] "request" status ...``; what follows the status is not needed, and may be anything.
Apache may write the host and port that were asked for first (its format ``vhost_combined``). Quotes and bytes that are
not printable ASCII are escaped, as ``\"`` or ``\xhh``.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from gateway.limits.address import parse_address
from gateway.limits.caller import Caller
from gateway.limits.holder import Holder
from gateway.limits.identity import Identity
from gateway.limits.rate import MICROSECONDS
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.target import parse_host, parse_target
from gateway.replay.request import BadLineError, LoggedRequest, RequestLine

_LINE = re.compile(r'([^\[]++)\[([^\]]++)\] "((?:[^"\\]++|\\.)*+)" (\d{3})\b', re.ASCII)
_REQUEST = re.compile(r"([A-Z_-]+) (\S+)(?: HTTP/\d(?:\.\d)?)?", re.ASCII)
_ESCAPE = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|(["\\bnrtv]))')
_SPECIAL = {"b": 8, "n": 10, "r": 13, "t": 9, "v": 11}
_EARLIEST, _LATEST = 0, 4_102_444_800
"""Seconds since 1970: until the year 2100."""

_CACHED = 100_000
"""Callers, and targets, that are remembered."""

GROUPS = ("user", "tier", "address", "host")
"""What a pattern may find in a line."""


class CombinedLog:
    """Parses lines.

    Args:
        identity: Hashes callers.
        pattern: Is searched for in each line. Its groups, which are some of `GROUPS`, replace what the format has.
        holders: Of the buckets of the rules. Who has none but by attributes stays unknown: they are not in such a log.
    """

    __slots__ = ("_find_caller", "_find_target", "_moment", "_pattern", "_time")

    def __init__(
        self, identity: Identity, pattern: re.Pattern[str] | None = None, holders: Iterable[Holder] = ()
    ) -> None:
        self._pattern = pattern
        callers = _Callers(identity, [each for each in holders if each.prefixes is not None])
        self._find_caller = lru_cache(maxsize=_CACHED)(callers.find)
        self._find_target = lru_cache(maxsize=_CACHED)(_subject)
        self._time, self._moment = "", 0

    @property
    def found(self) -> Collection[str]:
        """The groups of the pattern."""
        return self._pattern.groupindex if self._pattern is not None else ()

    def parse(self, line: str) -> LoggedRequest:
        """The request that a line tells of.

        Raises:
            BadLineError: it is not a line of these formats.
        """
        form = _LINE.match(line)
        if form is None:
            raise BadLineError('it is not in the common format: address - user [time] "request" status')
        who, time, request, status = form.groups()
        if time != self._time:
            self._moment = _read_time(time)
            self._time = time
        found = self._pattern.search(line) if self._pattern is not None else None
        caller, name, host = self._find_caller(who, tuple(sorted(found.groupdict().items())) if found else ())
        subject = self._find_target(request, host)
        return LoggedRequest(self._moment, MICROSECONDS, subject, caller, name, status == "429")


class _Callers:
    """Reads who sent a request.

    Args:
        identity: Hashes callers.
        holders: Of buckets, who are told apart by address.
    """

    def __init__(self, identity: Identity, holders: Sequence[Holder]) -> None:
        self._identity = identity
        self._holders = holders

    def find(self, who: str, found: tuple[tuple[str, str | None], ...]) -> tuple[Caller, str, str]:
        """The caller, a name for people, and the host that was asked for, if it is known.

        Args:
            who: The line up to its time.
            found: What the pattern found, by group.
        """
        host, words = "", who.strip(" ").split(" ", 2)
        if len(words) > 2 and parse_address(words[0]) is None and parse_address(words[1]) is not None:  # noqa: PLR2004
            host, words = words[0], words[1:2] + words[2].split(" ", 1)
        if len(words) != 3:  # noqa: PLR2004 - address, the client's own word for its user, user
            raise BadLineError("before its time there are not an address, a hyphen and a user")
        given = {name: _value(text) for name, text in found}
        address = given.get("address") or words[0]
        user = given["user"] if "user" in given else _value(words[2])
        named = given.get("host") or host
        host = (parse_host(named) or "") if named else ""
        client = self._identity.client(parse_address(address), self._holders)
        if client.address is None:  # a name that the server looked up, or a Unix socket
            digest = self._identity.digest("address", address)
            client = replace(client, digest=digest, digests=dict.fromkeys(client.digests, digest))
        if not user:
            return client, address, host
        caller = self._identity.user(user, given.get("tier") or None, address=client.address)
        return replace(caller, digests=client.digests), user, host


def _value(text: str | None) -> str:
    """A field without escapes; empty if it is a hyphen, which stands for none."""
    return "" if text in (None, "", "-") else _unescape(text.strip())


def _subject(request: str, host: str) -> RequestLine | None:
    form = _REQUEST.fullmatch(_unescape(request))
    if form is None:
        return None
    target = parse_target(form[2], ())
    return (
        None if isinstance(target, BadRequest) else RequestLine(form[1], target.host or host, target.path, target.query)
    )


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    raw = _ESCAPE.sub(_byte, text.encode(errors="surrogateescape").decode("latin-1"))
    return raw.encode("latin-1").decode(errors="surrogateescape")


def _byte(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else chr(_SPECIAL.get(escape[2], ord(escape[2])))


def _read_time(text: str) -> int:
    try:
        seconds = int(datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp())
    except (ValueError, OverflowError):
        raise BadLineError("its time is not of the form 31/Jan/2026:23:59:59 +0000") from None
    if not _EARLIEST <= seconds < _LATEST:
        raise BadLineError("its time is not between 1970 and 2100")
    return seconds * MICROSECONDS
