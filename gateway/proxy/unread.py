"""`read_unread`: what has arrived on a connection that has failed, and is still in its socket."""

import asyncio
import os
from collections.abc import Iterator

_PIECE = 65_536
_MAX_BYTES = 16_777_216
"""Bytes; a socket's buffer holds less."""


def read_unread(transport: asyncio.Transport) -> Iterator[bytes]:
    """Read what is left in the socket of a transport, from within its protocol's `connection_lost`.

    Linux keeps what came before a reset. Until `connection_lost` returns the socket is open, in asyncio and in uvloop.
    """
    socket = transport.get_extra_info("socket")
    if socket is None:
        return
    left = _MAX_BYTES
    while left > 0:
        try:
            data = os.read(socket.fileno(), _PIECE)
        except OSError:  # no more bytes, or the reset
            return
        if not data:
            return
        left -= len(data)
        yield data
