"""Each timeout bounds what its name says, also against a peer that sends a byte now and then.

The other timeouts are so long that only the one in question can end what is tested.
"""

import asyncio
import socket
from contextlib import suppress

import pytest

from gateway.settings.intake import Intake
from tests.proxy.keys import Keys, make_keys
from tests.proxy.running import proxy
from tests.waiting import DEADLINE, at_most, until
from tests.wire import OK, Client, Conversation, Script, ask, get, read_head, says, upstream

SHORT = 0.3
NEVER = 4 * DEADLINE
PAUSE = 0.05
"""Seconds between two bytes: many fit into the short timeout."""

BOUND = 10 * SHORT
"""Seconds after which a timeout of `SHORT` has been moved by bytes; all trickles take longer."""

LONG_ENOUGH = 400
"""Bytes of a trickle that takes longer than that."""

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def trickle(send: Conversation | Client, data: bytes, pause: float = PAUSE) -> None:
    with suppress(ConnectionError):
        for n in range(len(data)):
            await send.send(data[n : n + 1])
            await asyncio.sleep(pause)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


def trickles(raw: bytes, first: bytes = b"", then: float = 0.0) -> Script:
    """Answers with `first` at once, then with `raw` byte by byte, then is silent for a while."""

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(first)
        await trickle(talk, raw)
        await asyncio.sleep(then)

    return script


@pytest.mark.parametrize(
    ("first", "raw"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * LONG_ENOUGH),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * LONG_ENOUGH),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * LONG_ENOUGH),
        (b"", b"\r\n" * LONG_ENOUGH),
    ],
    ids=["a line", "lines", "after a 103", "empty lines"],
)
async def test_the_head_of_a_response_that_trickles_is_a_504(first: bytes, raw: bytes) -> None:
    script = trickles(raw, first)
    async with upstream(script) as up, proxy(up.port, head_timeout=SHORT, idle_timeout=NEVER) as running:
        async with at_most(BOUND), Client.connect(running.port) as client:
            answer = await client.ask(get())
            if answer.status == 103:
                answer = await client.answer()
        assert answer.status == 504


async def test_interim_responses_do_not_move_the_deadline_of_the_final_head() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        for _ in range(16):
            await talk.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(SHORT)
        await talk.send(OK)

    async with (
        upstream(script) as up,
        proxy(up.port, head_timeout=2 * SHORT, idle_timeout=NEVER) as running,
        Client.connect(running.port) as client,
    ):
        await client.send(get())
        statuses = [(await client.answer()).status]
        while statuses[-1] == 102:
            statuses.append((await client.answer()).status)
        assert statuses[-1] == 504
        assert len(statuses) < 10


async def test_a_part_of_a_head_followed_by_silence_is_a_504_in_time() -> None:
    script = trickles(b"HTT", then=NEVER)
    async with (
        upstream(script) as up,
        proxy(up.port, head_timeout=SHORT, idle_timeout=NEVER) as running,
        at_most(BOUND),
    ):
        assert (await ask(running.port, get())).status == 504


async def test_a_head_that_begins_during_an_upload_has_its_timeout_from_the_end_of_the_request() -> None:
    async def script(talk: Conversation) -> None:
        await read_head(talk.reader)
        await talk.send(b"HTTP/1.1 200 OK\r\n")
        await talk.reader.readexactly(10)
        await trickle(talk, b"X: " + b"y" * LONG_ENOUGH)

    async with (
        upstream(script) as up,
        proxy(up.port, head_timeout=3 * SHORT, idle_timeout=NEVER) as running,
        Client.connect(running.port) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10\r\n\r\n")
        await trickle(client, b"0123456789", SHORT)
        async with at_most(BOUND):
            assert (await client.answer()).status == 504


@pytest.mark.parametrize(
    "raw",
    [
        b"0\r\nX: " + b"y" * LONG_ENOUGH,
        b"5;" + b"x" * LONG_ENOUGH,
        b"0" * 15,
    ],
    ids=["trailers", "a chunk extension", "a chunk size"],
)
async def test_only_content_moves_the_deadline_of_a_response_body(raw: bytes) -> None:
    script = trickles(raw, CHUNKED + b"5\r\nhello\r\n", then=NEVER)
    async with (
        upstream(script) as up,
        proxy(up.port, head_timeout=NEVER, idle_timeout=SHORT) as running,
        Client.connect(running.port) as client,
        at_most(BOUND),
    ):
        await client.send(get())
        await client.reader.readuntil(b"hello\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reader.readexactly(1)


@pytest.mark.parametrize("framing", [b"Content-Length: 20\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_a_body_whose_pieces_keep_coming_may_take_longer_than_both_timeouts(framing: bytes) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        for _ in range(20):
            await talk.send(b"1\r\nx\r\n" if b"chunked" in framing else b"x")
            await asyncio.sleep(0.1)
        if b"chunked" in framing:
            await talk.send(b"0\r\n\r\n")

    async with upstream(script) as up, proxy(up.port, head_timeout=1.0, idle_timeout=1.0) as running:
        assert (await ask(running.port, get())).body == b"x" * 20


async def test_after_an_early_head_the_end_of_the_upload_begins_no_other_timeout_than_idle() -> None:
    async def script(talk: Conversation) -> None:
        await read_head(talk.reader)
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await talk.reader.readexactly(4)
        await asyncio.sleep(2 * SHORT)
        await talk.send(b"hello")

    async with upstream(script) as up, proxy(up.port, head_timeout=SHORT, idle_timeout=NEVER) as running:
        answer = await ask(running.port, b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 4\r\n\r\nbody")
        assert answer.body == b"hello"


async def test_the_handshake_of_an_https_upstream_has_connect_timeout() -> None:
    hello = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb" + bytes(LONG_ENOUGH)

    async def script(talk: Conversation) -> None:
        await trickle(talk, hello)

    async with (
        upstream(script) as up,
        proxy(up.port, scheme="https", connect_timeout=SHORT, head_timeout=NEVER) as running,
        at_most(BOUND),
    ):
        assert (await ask(running.port, get())).status == 504


async def test_the_handshake_of_a_client_has_head_timeout(keys: Keys) -> None:
    hello = b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03" + bytes(LONG_ENOUGH)
    intake = Intake(head_timeout=SHORT, idle_timeout=NEVER)
    async with (
        upstream() as up,
        proxy(up.port, intake=intake, ssl=keys.server) as running,
        Client.connect(running.port) as client,
    ):
        trickling = asyncio.create_task(trickle(client, hello))
        async with at_most(BOUND):
            await client.closed()
        trickling.cancel()
        await until(lambda: running.seen.causes)
        assert running.seen.causes == ["handshake"]
        assert running.server.held == 0


@pytest.mark.parametrize("before", [b"", get()], ids=["at first", "between two requests"])
async def test_empty_lines_keep_no_idle_connection_open(before: bytes) -> None:
    intake = Intake(head_timeout=NEVER, idle_timeout=SHORT)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        if before:
            assert (await client.ask(before)).status == 200
        trickling = asyncio.create_task(trickle(client, b"\r\n" * LONG_ENOUGH))
        async with at_most(BOUND):
            assert await client.closed() == b""
        trickling.cancel()
        assert running.seen.causes == []


async def test_the_second_head_on_a_connection_has_head_timeout_too() -> None:
    intake = Intake(head_timeout=SHORT, idle_timeout=NEVER)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await client.send(get() + b"GET /second")  # a part of it comes with the first
        assert (await client.answer()).status == 200
        trickling = asyncio.create_task(trickle(client, b" HTTP/1.1\r\nX: " + b"y" * LONG_ENOUGH))
        async with at_most(BOUND):
            assert (await client.answer()).status == 408
        trickling.cancel()


@pytest.mark.parametrize(
    "raw",
    [b"5;" + b"x" * LONG_ENOUGH, b"0\r\nX: " + b"y" * LONG_ENOUGH],
    ids=["a chunk extension", "trailers"],
)
async def test_what_is_no_content_of_a_request_body_does_not_move_body_timeout(raw: bytes) -> None:
    intake = Intake(body_timeout=SHORT, head_timeout=NEVER, idle_timeout=NEVER, least_rate=1)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        trickling = asyncio.create_task(trickle(client, raw))
        async with at_most(BOUND):
            assert (await client.answer()).status == 408
        trickling.cancel()


async def test_an_upstream_that_reads_nothing_of_a_body_is_a_504_after_idle_timeout() -> None:
    async def script(talk: Conversation) -> None:
        await read_head(talk.reader)
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a read transport, too
        await asyncio.sleep(NEVER)

    async with (
        upstream(script) as up,
        proxy(up.port, idle_timeout=SHORT, head_timeout=NEVER) as running,
        Client.connect(running.port) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 50000000\r\n\r\n")
        sending = asyncio.create_task(client.send(b"x" * 50_000_000))
        async with at_most(BOUND):
            assert (await client.answer()).status == 504
        sending.cancel()


async def test_a_client_that_reads_a_response_byte_by_byte_is_cut_off() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + bytes(20_000_000)
    intake = Intake(answer_timeout=SHORT, head_timeout=NEVER, idle_timeout=NEVER)
    async with upstream(says(body)) as up, proxy(up.port, intake=intake, idle_timeout=NEVER) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.setblocking(False)
            client.sendall(get())

            async def sip() -> None:
                while True:
                    await asyncio.get_running_loop().sock_recv(client, 1)
                    await asyncio.sleep(PAUSE)

            sipping = asyncio.create_task(sip())
            async with at_most(BOUND):
                await until(lambda: running.seen.causes == ["slow_reader"])
            sipping.cancel()
            await asyncio.wait([sipping])


async def test_what_trickles_in_after_an_early_response_has_discard_timeout() -> None:
    intake = Intake(discard_timeout=SHORT, body_timeout=NEVER, idle_timeout=NEVER)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await client.send(b"BAD\r\n\r\n")
        assert (await client.answer()).status == 400
        trickling = asyncio.create_task(trickle(client, b"x" * LONG_ENOUGH))
        async with at_most(BOUND):
            await client.closed()
            await until(lambda: not running.server.held)
        trickling.cancel()
