"""`GrpcQuestion`: what services ask over gRPC, as data."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Fields: TypeAlias = "Sequence[tuple[int, str | int | Fields]]"
"""The fields of a message of Protocol Buffers: numbers, and texts, integers or messages. ``@user@`` is the user."""

_LENGTH_DELIMITED = 2


class GrpcQuestion(NamedTuple):
    """A call.

    Attributes:
        method: As in ``/package.Service/Method``.
        fields: Of the message.
        connections: How many the callers share.
    """

    method: str
    fields: Fields
    connections: int = 1

    def encode(self, user: str) -> bytes:
        """The message."""
        return _encode(self.fields, user)


def _encode(fields: Fields, user: str) -> bytes:
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
        else:
            content = value.replace("@user@", user).encode() if isinstance(value, str) else _encode(value, user)
            encoded += _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content
    return encoded


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
