"""A reader of what a client is told: answers one after the other, each in one framing, and nothing behind the last."""

import re
from dataclasses import dataclass

_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")


class BrokenResponseError(ValueError):
    """A client could read this in more ways than one, or in none."""


@dataclass(frozen=True)
class Answer:
    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    whole: bool

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.lower().encode()]

    @property
    def says_close(self) -> bool:
        return b"close" in self.all("Connection")


def read_responses(stream: bytes, methods: list[bytes]) -> list[Answer]:
    """Read all that a client was sent on a connection.

    Args:
        stream: From the first byte to the close.
        methods: Of the requests that are answered; GET where they are more.

    Raises:
        BrokenResponseError: it is no sequence of answers.
    """
    answers: list[Answer] = []
    final = 0
    while stream:
        head, end, rest = stream.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        start = _LINE.fullmatch(line)
        if not end or start is None:
            raise BrokenResponseError(f"{line[:200]!r}")
        fields = []
        for text in lines:
            form = _FIELD.fullmatch(text)
            if form is None:
                raise BrokenResponseError(f"field line {text[:200]!r}")
            fields.append((form[1], form[2]))
        status = int(start[1])
        method = methods[final] if final < len(methods) else b"GET"
        body, whole, stream = _body(status, method, tuple(fields), rest)
        answers.append(Answer(status, tuple(fields), body, whole))
        final += status >= 200 or status == 101
    return answers


def _body(
    status: int, method: bytes, fields: tuple[tuple[bytes, bytes], ...], rest: bytes
) -> tuple[bytes, bool, bytes]:
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise BrokenResponseError(f"framed twice: {fields!r}")
    if status == 101:
        return rest, True, b""
    if status < 200 or status == 204:
        if lengths or codings:
            raise BrokenResponseError(f"a {status} with framing")
        return b"", True, rest
    if status == 304 or method == b"HEAD":
        return b"", True, rest
    if codings:
        if codings != [b"chunked"]:
            raise BrokenResponseError(f"transfer coding {codings!r}")
        return _chunks(rest)
    if lengths:
        if re.fullmatch(rb"0|[1-9][0-9]{0,18}", lengths[0]) is None:
            raise BrokenResponseError(f"length {lengths!r}")
        length = int(lengths[0])
        return rest[:length], len(rest) >= length, rest[length:]
    return rest, True, b""


def _chunks(rest: bytes) -> tuple[bytes, bool, bytes]:
    body: list[bytes] = []
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return b"".join(body), False, b""
        if re.fullmatch(rb"[0-9a-f]{1,8}", line) is None:
            raise BrokenResponseError(f"chunk size {line!r}")
        size = int(line, 16)
        if len(rest) < size + 2:
            return b"".join([*body, rest[:size]]), False, b""
        if rest[size : size + 2] != b"\r\n":
            raise BrokenResponseError("no line end behind a chunk")
        if not size:
            return b"".join(body), True, rest[2:]
        body.append(rest[:size])
        rest = rest[size + 2 :]
