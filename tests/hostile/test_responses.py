"""Whatever an upstream answers, a client sees one whole answer or none, and the next client nothing of it."""

import asyncio
import socket
import struct

import h11
import pytest

from gateway.settings.intake import Intake
from tests.hostile.responses import read_responses
from tests.hostile.upstreams import BAD, CUT, Reply, own, starter
from tests.hostile.wire import OK, converse, in_bytes
from tests.proxy.running import proxy
from tests.waiting import DEADLINE
from tests.wire import Conversation, upstream

CASES = [*starter(), *own()]
INTAKE = Intake(idle_timeout=0.02)
_NEXT = b"GET /next HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
_BODY = b"x" * 100_000
"""Longer than what is read at once, so that an early answer comes before its end."""


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


def _request(case: Reply) -> bytes:
    body = _BODY if case.method == b"POST" else b""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return case.method + b" /case HTTP/1.1\r\nHost: gw.test\r\n" + length + b"\r\n" + body


async def _reply(talk: Conversation, case: Reply, pieces: list[bytes]) -> None:
    """Answer all requests on a connection, that for /case as the case has it."""
    while head := await talk.reader.readuntil(b"\r\n\r\n"):
        if b" /case " in head:
            break
        await talk.send(OK)
    for piece in pieces:
        await talk.send(piece)
        await asyncio.sleep(0)
    if case.then == "rst":
        talk.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        talk.writer.transport.abort()
    elif case.then == "hang":
        while await talk.reader.read(65_536):
            pass
    elif case.then == "keep":
        while await talk.reader.readuntil(b"\r\n\r\n"):
            await talk.send(OK)


def _second_opinion(raw: bytes, method: bytes) -> str:
    """What h11 makes of it, as a client."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method=method, target="/case", headers=[("Host", "gw.test")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    connection.receive_data(b"")
    status, body = 0, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return CUT
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return f"{status} {body.decode('latin-1')}"
        elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return CUT


@pytest.mark.parametrize("cut", ["whole", "in bytes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_response_is_whole_or_none_and_never_the_next_clients(case: Reply, cut: str) -> None:
    pieces = [case.raw] if cut == "whole" else in_bytes(case.raw)

    async def script(talk: Conversation) -> None:
        await _reply(talk, case, pieces)

    async with (
        upstream(script) as up,
        proxy(up.port, head_timeout=0.4, idle_timeout=0.4, intake=INTAKE) as running,
    ):
        async with asyncio.timeout(DEADLINE):
            heard = await converse(running.port, [_request(case)])
            answers = read_responses(heard.raw, [case.method])
            final = [answer for answer in answers if answer.status >= 200]
            assert len(final) <= 1
            seen = CUT
            if final and final[0].whole:
                seen = BAD if final[0].status == 502 else f"{final[0].status} {final[0].body.decode('latin-1')}"
            assert seen in case.may, heard.raw[:500]
            if seen != BAD:
                assert _second_opinion(heard.raw, case.method) == seen
            for _ in range(2):
                following = await converse(
                    running.port, [b"GET /next HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"]
                )
                assert [answer.body for answer in read_responses(following.raw, [])] == [b"ok"]
