"""Blocks of headers are read as hpack reads them, also those that are remembered."""

import pytest
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from gateway.rate_limit_service.header_reader import HeaderReader
from gateway.rate_limit_service.http2 import Http2Error, encode_headers


def _indexed(*headers: tuple[str, str]) -> bytes:
    return Encoder().encode(list(headers))


POOL = [
    _indexed((":path", "/a")),  # adds to the table
    _indexed((":path", "/b"), ("x", "y")),
    encode_headers((b":path", b"/c")),  # adds nothing
    b"\xbe",  # the newest entry of the table
    b"\xbf",
    b"\xbe\xbf",
    b"\x20",  # a table of no size
    b"\x3f\xe1\x1f",  # and of 4096 bytes
    b"",
    b"\xff\xff",
    _indexed(("x", "y" * 5000)),  # larger than the table, and so its end
]


@given(st.lists(st.sampled_from(POOL), max_size=12))
def test_a_sequence_of_blocks_is_read_as_by_a_decoder_that_remembers_none(blocks: list[bytes]) -> None:
    reader, plain = HeaderReader(65_536), Decoder()
    for block in blocks:
        try:
            headers = plain.decode(block, raw=True)
        except HPACKError:
            with pytest.raises(Http2Error):
                reader.path(block)
            return  # and the connection ends
        assert reader.path(block) == next((value.decode() for name, value in headers if name == b":path"), "")
