"""`HeaderReader`: reads the path in blocks of headers (HPACK, RFC 7541)."""

from hpack import Decoder
from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from gateway.rate_limit_service.http2 import ErrorCode, Http2Error

_MAX_KNOWN = 64
"""Blocks that are remembered."""

_NEWEST = HeaderTable.STATIC_TABLE_LENGTH + 1


class HeaderReader:
    """Reads the path in blocks of headers.

    Most blocks of a client are the same bytes, which refer to its table and add nothing to it. Such a block is decoded
    only once, until another one changes the table.

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
        before = self._table()
        try:
            headers = self._decoder.decode(block, raw=True)
        except HPACKError:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR) from None
        path = next((value for name, value in headers if name == b":path"), b"").decode(errors="replace")
        newest, size = self._table()
        if newest is not before[0] or size != before[1]:
            self._known.clear()
        elif len(self._known) < _MAX_KNOWN:
            self._known[block] = path
        return path

    def _table(self) -> tuple[object, int]:
        """The newest entry of the client's table, and its size: both stay if a block changes nothing."""
        table = self._decoder.header_table
        try:
            return table.get_by_index(_NEWEST), table.maxsize
        except HPACKError:
            return None, table.maxsize
