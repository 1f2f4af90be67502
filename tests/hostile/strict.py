"""A reader of requests that takes nothing but what RFC 9112 says, in the one form in which our proxy may say it."""

import re
from dataclasses import dataclass

import h11

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.1")
_VALUE = rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?(" + _VALUE + rb")")
_SIZE = re.compile(rb"[0-9a-f]{1,8}")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")


class NotStrictError(ValueError):
    """These bytes should never have been sent."""


@dataclass(frozen=True)
class Request:
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]


@dataclass(frozen=True)
class Reading:
    """What came on one connection: whole requests, and whether there is the beginning of another."""

    whole: tuple[Request, ...]
    begun: bool


def read_strictly(stream: bytes) -> Reading:
    """Read all of a connection.

    Raises:
        NotStrictError: something in it could be read in another way, or in none.
    """
    requests: list[Request] = []
    while stream:
        head, end, rest = stream.partition(b"\r\n\r\n")
        if not end:
            return Reading(tuple(requests), begun=True)
        line, *lines = head.split(b"\r\n")
        start = _LINE.fullmatch(line)
        if start is None:
            raise NotStrictError(f"request line {line!r}")
        fields = tuple(_field(text) for text in lines)
        body, left = _body(fields, rest)
        if left is None:
            return Reading(tuple(requests), begun=True)
        requests.append(Request(start[1], start[2], fields, body))
        stream = left
    return Reading(tuple(requests), begun=False)


def _field(line: bytes) -> tuple[bytes, bytes]:
    form = _FIELD.fullmatch(line)
    if form is None:
        raise NotStrictError(f"field line {line!r}")
    return form[1], form[2]


def _body(fields: tuple[tuple[bytes, bytes], ...], rest: bytes) -> tuple[bytes, bytes | None]:
    named: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        named.setdefault(name.lower(), []).append(value)
    lengths, codings = named.get(b"content-length", []), named.get(b"transfer-encoding", [])
    if len(named.get(b"host", [])) != 1 or len(lengths) + len(codings) > 1:
        raise NotStrictError(f"Host or framing not once: {fields!r}")
    if codings:
        if codings != [b"chunked"]:
            raise NotStrictError(f"transfer coding {codings!r}")
        return _chunks(rest)
    if not lengths:
        return b"", rest
    if _LENGTH.fullmatch(lengths[0]) is None:
        raise NotStrictError(f"length {lengths!r}")
    length = int(lengths[0])
    return (rest[:length], rest[length:]) if len(rest) >= length else (b"", None)


def _chunks(rest: bytes) -> tuple[bytes, bytes | None]:
    body: list[bytes] = []
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return b"", None
        if _SIZE.fullmatch(line) is None:
            raise NotStrictError(f"chunk size {line!r}")
        size = int(line, 16)
        if len(rest) < size + 2:
            return b"", None
        if rest[size : size + 2] != b"\r\n":
            raise NotStrictError("no line end behind a chunk, or a trailer")
        if not size:
            return b"".join(body), rest[2:]
        body.append(rest[:size])
        rest = rest[size + 2 :]


def read_with_h11(stream: bytes) -> Reading:
    """The same, as h11 has it.

    Raises:
        h11.RemoteProtocolError: it refuses these bytes.
    """
    requests: list[Request] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**24)
    connection.receive_data(stream)
    while stream:
        head = connection.next_event()
        if head is h11.NEED_DATA or not isinstance(head, h11.Request):
            return Reading(tuple(requests), begun=bool(connection.trailing_data[0]))
        pieces = []
        while isinstance(event := connection.next_event(), h11.Data):
            pieces.append(bytes(event.data))
        if not isinstance(event, h11.EndOfMessage):
            return Reading(tuple(requests), begun=True)
        assert not event.headers.raw_items(), "trailers end at the proxy"
        fields = tuple((bytes(name), bytes(value)) for name, value in head.headers.raw_items())
        requests.append(Request(bytes(head.method), bytes(head.target), fields, b"".join(pieces)))
        # Whether the client closes after this is for the connection to show, not for h11.
        rest, _ = connection.trailing_data
        if not rest:
            return Reading(tuple(requests), begun=False)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**24)
        connection.receive_data(rest)
    return Reading((), begun=False)
