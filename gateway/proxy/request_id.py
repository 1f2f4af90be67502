"""`RequestIds`: names each request, in logs, towards the upstream and, unless it is turned off, towards the client."""

import re
from os import urandom
from typing import Final

from multidict import CIMultiDictProxy

from gateway.proxy.header_names import X_REQUEST_ID

_VALID: Final = re.compile(r"[A-Za-z0-9._+=/-]{1,128}", re.ASCII)
_LENGTH: Final = 24
"""Hex digits of an id: 96 bits, so that no two of 10^12 requests have the same."""
_POOL: Final = 512
"""Ids made of one call to the system."""


class RequestIds:
    """Makes the ids of requests. They are random: a counter would tell clients how many requests there are.

    Args:
        shown: Whether responses have X-Request-ID.

    Attributes:
        shown: As above.
    """

    __slots__ = ("_at", "_pool", "shown")

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown
        self._pool = ""
        self._at = 0

    def identify(self, headers: "CIMultiDictProxy[str]", *, trusted: bool) -> str:
        """The id that a trusted proxy gave a request, or a new one."""
        given = headers.get(X_REQUEST_ID) if trusted else None
        return given if given and _VALID.fullmatch(given) else self.new()

    def new(self) -> str:
        """A new id."""
        if self._at == len(self._pool):
            self._pool, self._at = urandom(_LENGTH // 2 * _POOL).hex(), 0
        at = self._at
        self._at = at + _LENGTH
        return self._pool[at : self._at]

    def line(self, request_id: str) -> bytes:
        """The header line of a response, with its line end; empty if responses have none."""
        return b"X-Request-ID: %b\r\n" % request_id.encode() if self.shown else b""
