"""The messages of unary gRPC calls: one each way, behind five bytes, of which four say how long it is."""

from enum import IntEnum

_MAX_MESSAGE = 65_536
"""Bytes of a request's message."""

_PREFIX = 5

MAX_FRAMED = _PREFIX + _MAX_MESSAGE
"""Bytes of a request's body; of a longer one it matters only that it is."""


class GrpcStatus(IntEnum):
    """The status codes of gRPC that are used."""

    INVALID_ARGUMENT = 3
    UNIMPLEMENTED = 12
    INTERNAL = 13


class GrpcError(Exception):
    """A call fails.

    Args:
        status: The status.
        text: Why, for whoever operates the client; printable ASCII, less than 127 characters.
    """

    def __init__(self, status: GrpcStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


def frame_message(message: bytes) -> bytes:
    """A message as it is sent."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def read_message(body: bytes) -> bytes:
    """The one message of a request.

    Raises:
        GrpcError: it is compressed, larger than allowed, or not one message.
    """
    if body[:1] == b"\1":
        raise GrpcError(GrpcStatus.UNIMPLEMENTED, "compressed messages are not supported")
    length = len(body) - _PREFIX
    if not 0 <= length <= _MAX_MESSAGE or int.from_bytes(body[1:_PREFIX], "big") != length:
        raise GrpcError(GrpcStatus.INVALID_ARGUMENT, "a request is one message of 64 KiB at most")
    return body[_PREFIX:]
