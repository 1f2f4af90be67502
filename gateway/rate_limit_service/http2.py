"""HTTP/2 as far as a server of unary calls needs it (RFC 9113): frames, settings and errors.

A client that keeps to the RFC is served; one that does not gets a connection error, whatever finer distinction the RFC
draws.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Types of frames; others are ignored."""

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

INITIAL_WINDOW, MAX_WINDOW = 65_535, 2**31 - 1
"""Bytes that may be sent before a WINDOW_UPDATE, at first and at most."""

_HEAD = 9
_MAX_FRAME = 16_384
"""Bytes of a frame's payload: what a server that announces nothing else accepts."""

_MAX_CONCURRENT_STREAMS, _INITIAL_WINDOW_SIZE, _MAX_HEADER_LIST_SIZE = 3, 4, 6
"""Identifiers of settings."""


class ErrorCode(IntEnum):
    """Codes of RST_STREAM and GOAWAY that are used."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Http2Error(Exception):
    """The connection cannot go on.

    Args:
        code: Why.
    """

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Frame(NamedTuple):
    """A frame that was received."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class FrameReader:
    """Cuts what a client sends into frames."""

    __slots__ = ("_buffer", "_greeted")

    def __init__(self) -> None:
        self._buffer = b""
        self._greeted = False

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete.

        Raises:
            Http2Error: it does not begin as HTTP/2 does, or a frame is too large.
        """
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if not self._greeted:
            if not buffer.startswith(PREFACE[: len(buffer)]):
                raise Http2Error(ErrorCode.PROTOCOL_ERROR)
            if len(buffer) < len(PREFACE):
                self._buffer = buffer
                return
            self._greeted, at = True, len(PREFACE)
        self._buffer = b""
        while len(buffer) - at >= _HEAD:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if length > _MAX_FRAME:
                raise Http2Error(ErrorCode.FRAME_SIZE_ERROR)
            end = at + _HEAD + length
            if end > len(buffer):
                break
            stream = int.from_bytes(buffer[at + 5 : at + _HEAD], "big") & MAX_WINDOW
            yield Frame(buffer[at + 3], buffer[at + 4], stream, buffer[at + _HEAD : end])
            at = end
        self._buffer = buffer[at:]


def content_of(frame: Frame) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority.

    Raises:
        Http2Error: there is less of it than the padding says.
    """
    payload = frame.payload
    if frame.flags & (PADDED | WITH_PRIORITY):
        start, padding = 0, 0
        if frame.flags & PADDED:
            start, padding = 1, payload[0] if payload else 0
        if frame.kind == HEADERS and frame.flags & WITH_PRIORITY:
            start += 5
        if start + padding > len(payload):
            raise Http2Error(ErrorCode.PROTOCOL_ERROR)
        payload = payload[start : len(payload) - padding]
    return payload


def encode_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, stream.to_bytes(4, "big"), payload)


def encode_settings(max_streams: int, max_headers: int) -> bytes:
    """The server's SETTINGS."""
    pairs = ((_MAX_CONCURRENT_STREAMS, max_streams), (_MAX_HEADER_LIST_SIZE, max_headers))
    return encode_frame(
        SETTINGS, 0, 0, b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs)
    )


def read_initial_window(payload: bytes) -> int | None:
    """The initial window of streams that a client's SETTINGS set; None if they do not.

    Raises:
        Http2Error: they are malformed.
    """
    if len(payload) % 6:
        raise Http2Error(ErrorCode.FRAME_SIZE_ERROR)
    window = None
    for at in range(0, len(payload), 6):
        if int.from_bytes(payload[at : at + 2], "big") == _INITIAL_WINDOW_SIZE:
            window = int.from_bytes(payload[at + 2 : at + 6], "big")
            if window > MAX_WINDOW:
                raise Http2Error(ErrorCode.FLOW_CONTROL_ERROR)
    return window


def encode_headers(*headers: tuple[bytes, bytes]) -> bytes:
    """A block of headers as literals that are not indexed (RFC 7541 section 6.2.2): it needs no table.

    Names and values have less than 127 bytes.
    """
    return b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in headers)
