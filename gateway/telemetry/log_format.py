"""How an event becomes a line: JSON for programs, readable text for people at a terminal.

Whatever a value holds, it stays in its line: newlines and control characters, the terminal's included, are escaped, and
so is all that is not ASCII. A line that would be longer than a pipe takes at once is cut.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from gateway.telemetry.log_writer import LONGEST

Value = str | int | float | bool | list[str] | None
Fields = Mapping[str, Value]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CUT = 1800
"""Characters kept of a line's fields when they are too long. Quoted once more they at most double."""


class AccessRecord(NamedTuple):
    """One request, as the log tells it. No field for a user id in the clear, nor for the path, which may hold one.

    Attributes:
        request_id: As in X-Request-ID, which its upstream was sent; of letters, digits and ._+=/- only, or empty.
        endpoint: Its name in the configuration.
        method: Its method; one that is not common is logged as ``other``.
        outcome: What became of it, a word of ours.
        status: The answer's status code.
        seconds: How long it took.
        caller: A keyed digest of who asked, in hex.
    """

    request_id: str
    endpoint: str
    method: str
    outcome: str
    status: int
    seconds: float
    caller: str


class LogFormat(Protocol):
    """Makes lines."""

    def event(self, time: float, level: str, name: str, fields: Fields) -> str:
        """The line of an event. `time` is seconds since 1970."""

    def access(self, time: float, access: AccessRecord) -> str:
        """The line of a request."""


class Clock:
    """UTC as text with milliseconds, made anew only when the second changes."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, time: float) -> str:
        """``2026-01-31T23:59:59.123Z``."""
        second = int(time)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            self._second = second
        return f"{self._text}{int((time - second) * 1000):03}Z"


class Quotes(dict[str, str]):
    """Names as JSON strings, each made once. For names out of the configuration: there are only so many."""

    def __missing__(self, name: str) -> str:
        quoted = self[name] = json.dumps(name)
        return quoted


class JsonFormat:
    """One JSON object a line.

    Args:
        origin: Fields of every line: which process speaks.
    """

    __slots__ = ("_clock", "_origin", "_quoted", "_taken")

    def __init__(self, origin: Fields) -> None:
        self._clock = Clock()
        self._taken = frozenset({"time", "level", "event", *origin})
        self._origin = "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in origin.items())
        self._quoted = Quotes()

    def event(self, time: float, level: str, name: str, fields: Fields) -> str:
        """See `LogFormat`. A field may not take the place of one that every line has."""
        head = (
            f'{{"time": "{self._clock.text(time)}", "level": "{level}", {self._origin}"event": {json.dumps(name[:100])}'
        )
        rest = json.dumps({key: _finite(value) for key, value in fields.items() if key not in self._taken}, default=str)
        line = f"{head}, {rest[1:]}\n" if rest != "{}" else f"{head}}}\n"
        return line if len(line) < LONGEST else f'{head}, "cut": {json.dumps(rest[:_CUT])}}}\n'

    def access(self, time: float, access: AccessRecord) -> str:
        """See `LogFormat`. What is not quoted here is ours and needs no quoting."""
        request_id, endpoint, method, outcome, status, seconds, caller = access
        return (
            f'{{"time": "{self._clock.text(time)}", "level": "info", {self._origin}"event": "request", '
            f'"request_id": "{request_id}", "endpoint": {self._quoted[endpoint]}, '
            f'"method": "{method if method in _METHODS else "other"}", '
            f'"outcome": "{outcome}", "status": {status}, "ms": {seconds * 1000:.3f}, "caller": "{caller}"}}\n'
        )


class TextFormat:
    """One line of text: time, level, event, fields. For a person who watches; programs read JSON.

    Args:
        origin: Fields of every line: which process speaks.
    """

    __slots__ = ("_clock", "_origin")

    def __init__(self, origin: Fields) -> None:
        self._clock = Clock()
        self._origin = "".join(f"  {_plain(key)}={_plain(value)}" for key, value in origin.items() if key != "pid")

    def event(self, time: float, level: str, name: str, fields: Fields) -> str:
        """See `LogFormat`."""
        rest = "".join(f"  {_plain(key)}={_plain(value)}" for key, value in fields.items())
        return f"{self._clock.text(time)} {level:7} {_plain(name)}{rest}{self._origin}"[: LONGEST - 2] + "\n"

    def access(self, time: float, access: AccessRecord) -> str:
        """See `LogFormat`."""
        request_id, endpoint, method, outcome, status, seconds, caller = access
        return (
            f"{self._clock.text(time)} info    {method if method in _METHODS else 'other'} {_plain(endpoint)} "
            f"{status} {outcome}  {seconds * 1000:.1f} ms  caller={caller}  request_id={request_id}{self._origin}\n"
        )


def _finite(value: Value) -> Value:
    """A value as JSON knows it: it has no infinity, and no number that is none."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Value) -> str:
    """A value as it is when it is a plain word, else as a JSON string, which has no control characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if text.isascii() and text.isprintable() and text and not set(text) & {" ", '"', "=", "\\"}:
        return text
    return json.dumps(text).replace("\x7f", "\\u007f")
