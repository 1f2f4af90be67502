"""An answer that comes before its request has: what is left of the body is never read as another request."""

import asyncio

import h11
import pytest

from tests.hostile.own import CANARY
from tests.hostile.responses import read_responses
from tests.hostile.strict import read_strictly
from tests.hostile.wire import OK, converse, recorder
from tests.proxy.running import proxy

REFUSED = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("refuses", [False, True], ids=["200", "417"])
@pytest.mark.parametrize("expecting", [b"", b"Expect: 100-continue\r\n"], ids=["plain", "expecting"])
@pytest.mark.parametrize("sent", [0, 1, 100, 100_000])
async def test_the_body_behind_an_early_response_is_no_request(sent: int, expecting: bytes, refuses: bool) -> None:
    """Neither for us, nor for the upstream, whose connection may be used again only behind the whole body."""

    async def early(request: h11.Request, writer: asyncio.StreamWriter) -> None:
        writer.write(REFUSED if refuses and request.target == b"/early" else OK)

    length = len(CANARY) * 100
    head = b"POST /early HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n%b\r\n" % (length, expecting)
    body = (CANARY * 100)[:sent]
    async with recorder(early, early=True) as up, proxy(up.port) as running:
        heard = await converse(running.port, [head, body], half_close=True)
        assert {answer.status for answer in read_responses(heard.raw, [b"POST"])} <= {417 if refuses else 200}
        after = [await converse(running.port, [NEXT]) for _ in range(2)]
        assert [each.body for heard in after for each in read_responses(heard.raw, [])] == [b"ok", b"ok"]
    whole = [request for stream in up.streams for request in read_strictly(bytes(stream)).whole]
    assert {request.target for request in whole} <= {b"/early", b"/next"}
    assert all(len(request.body) == length for request in whole if request.target == b"/early")
