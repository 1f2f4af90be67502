"""`HeaderReader`: reads the path in blocks of headers (HPACK, RFC 7541)."""

from hpack import Decoder
from hpack.exceptions import HPACKError

from gateway.rate_limit_service.http2 import ErrorCode, Http2Error

_INDEXED, _LONG_INDEX, _MAX_KNOWN = 0x80, 0xFF, 64
"""A byte from the first on is an index of one byte, but for the second; blocks that are remembered."""


class HeaderReader:
    """Reads the path in blocks of headers.

    Most blocks of a client are the same bytes, each of them the index of a header in its table (RFC 7541 section 6.1).
    Such a block leaves the table as it is, so it is decoded only once, until another one changes the table.

    Args:
        max_size: Bytes that the headers of a block may have, as RFC 9113 section 6.5.2 counts them.
    """

    __slots__ = ("_decoder", "_known")

    def __init__(self, max_size: int) -> None:
        self._decoder = Decoder(max_header_list_size=max_size)
        self._known: dict[bytes, str] = {}

    def path(self, block: bytes) -> str:
        """The path of a request.

        Raises:
            Http2Error: the block cannot be decoded.
        """
        if (known := self._known.get(block)) is not None:
            return known
        try:
            headers = self._decoder.decode(block, raw=True)
        except HPACKError:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR) from None
        path = next((value for name, value in headers if name == b":path"), b"").decode(errors="replace")
        if block and min(block) >= _INDEXED and _LONG_INDEX not in block:
            if len(self._known) < _MAX_KNOWN:
                self._known[block] = path
        else:
            self._known.clear()
        return path
