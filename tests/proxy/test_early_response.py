"""Answers that come before the whole body has: they say that the connection ends, or it goes on behind the body."""

import asyncio
import socket
import struct
from time import monotonic, sleep

import pytest

from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.exchange import CHEAP_DISCARD
from gateway.settings.intake import Intake
from tests.proxy.keys import Keys
from tests.proxy.running import proxy
from tests.waiting import DEADLINE, at_most, until
from tests.wire import OK, Client, Conversation, Message, get, upstream

NEVER = Limit("never", ("user", "endpoint"), Quota(Rate(1, 86_400), 1), endpoints=frozenset({"refused"}))
REFUSED = Endpoint("refused", Template.parse("/refused"), cost=2)
SMALL = Endpoint("small", Template.parse("/small"), max_body=100)
RULES = {"limits": [NEVER], "endpoints": [REFUSED, SMALL]}
MUCH = 5_000_000
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"
UNAUTHORIZED_AND_CLOSE = UNAUTHORIZED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def post(path: str, *fields: str) -> bytes:
    return get(path, *fields, method="POST")


def says_close(answer: Message) -> bool:
    return answer.all(b"connection") == [b"close"]


def blocking(port: int, data: bytes, *, rate: float = 0.0) -> bytes:
    """Send all of it before anything is read, as many libraries do. With `rate`, so many bytes a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        if rate:
            began, step = monotonic(), int(rate / 20)
            for sent in range(0, len(data), step):
                sock.sendall(data[sent : sent + step])
                sleep(max(0.0, began + (sent + step) / rate - monotonic()))
        else:
            sock.sendall(data)
        heard = b""
        while piece := sock.recv(65_536):
            heard += piece
        return heard


@pytest.mark.parametrize(("path", "status"), [("/refused", 429), ("/small", 413)])
async def test_in_front_of_a_large_body_our_own_says_close_and_a_client_that_sends_all_of_it_first_sees_it(
    path: str, status: int
) -> None:
    request = post(path, f"Content-Length: {MUCH}") + b"x" * MUCH
    async with upstream() as up, proxy(up.port, **RULES) as running:  # type: ignore[arg-type]
        for _ in range(5):
            heard = await asyncio.to_thread(blocking, running.port, request)
            assert heard.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nConnection: close\r\n" in heard
    assert up.requests == []


async def test_a_slow_upload_sees_its_refusal() -> None:
    """600 kB/s, for longer than a connection lingers on which nothing comes."""
    request = post("/refused", "Content-Length: 2000000") + b"x" * 2_000_000
    async with upstream() as up, proxy(up.port, **RULES) as running:  # type: ignore[arg-type]
        heard = await asyncio.to_thread(blocking, running.port, request, rate=600_000)
    assert heard.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nConnection: close\r\n" in heard


async def test_behind_a_small_body_that_comes_after_the_response_the_connection_goes_on() -> None:
    async with (
        upstream() as up,
        proxy(up.port, **RULES) as running,  # type: ignore[arg-type]
        Client.connect(running.port) as client,
    ):
        for _ in range(3):
            answer = await client.ask(post("/refused", f"Content-Length: {CHEAP_DISCARD}"))
            assert (answer.status, says_close(answer)) == (429, False)
            assert (await client.ask(b"x" * CHEAP_DISCARD + get("/next"))).status == 200
    assert [request.start for request in up.requests] == [b"GET /next HTTP/1.1"] * 3


async def test_of_a_body_that_has_come_in_part_the_rest_counts() -> None:
    length = CHEAP_DISCARD + 1_000
    async with (
        upstream() as up,
        proxy(up.port, **RULES) as running,  # type: ignore[arg-type]
        Client.connect(running.port) as client,
    ):
        answer = await client.ask(post("/refused", f"Content-Length: {length}") + b"x" * 1_000)
        assert (answer.status, says_close(answer)) == (429, False)
        assert (await client.ask(b"x" * CHEAP_DISCARD + get())).status == 200
    async with (
        upstream() as up,
        proxy(up.port, **RULES) as running,  # type: ignore[arg-type]
        Client.connect(running.port) as client,
    ):
        answer = await client.ask(post("/refused", f"Content-Length: {length}"))
        assert (answer.status, says_close(answer)) == (429, True)


async def test_in_front_of_a_body_of_unknown_length_our_own_says_close_unless_it_is_whole() -> None:
    chunked, whole = "Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"
    async with (
        upstream() as up,
        proxy(up.port, **RULES) as running,  # type: ignore[arg-type]
        Client.connect(running.port) as client,
    ):
        answer = await client.ask(post("/refused", chunked) + whole)
        assert (answer.status, says_close(answer)) == (429, False)
        answer = await client.ask(post("/refused", chunked) + whole[:-2])
        assert (answer.status, says_close(answer)) == (429, True)
        await client.send(b"\r\n" + get())
        assert await client.closed() == b""
    assert up.requests == []


async def test_a_client_that_waits_for_100_continue_is_told_to_close() -> None:
    """It may send the body now, or another request: nobody could tell which it is."""
    async with upstream() as up, proxy(up.port, **RULES) as running:  # type: ignore[arg-type]
        async with Client.connect(running.port) as client:
            answer = await client.ask(post("/refused", "Content-Length: 5", "Expect: 100-continue"))
            assert (answer.status, says_close(answer)) == (429, True)
            await client.send(get())
            assert await client.closed() == b""
        async with Client.connect(running.port) as client:  # it did not wait
            answer = await client.ask(post("/refused", "Content-Length: 5", "Expect: 100-continue") + b"he")
            assert (answer.status, says_close(answer)) == (429, False)
            assert (await client.ask(b"llo" + get())).status == 200
    assert len(up.requests) == 1


async def test_http_1_0_is_told_and_gets_its_response() -> None:
    request = b"POST /refused HTTP/1.0\r\nHost: gw.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with upstream() as up, proxy(up.port, **RULES) as running:  # type: ignore[arg-type]
        heard = await asyncio.to_thread(blocking, running.port, request)
    assert heard.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nConnection: close\r\n" in heard


async def test_a_request_pipelined_behind_a_refused_body_is_answered_or_the_close_was_said() -> None:
    async with upstream() as up, proxy(up.port, **RULES) as running:  # type: ignore[arg-type]
        for size in (10, 60_000, CHEAP_DISCARD, 400_000, MUCH):
            async with Client.connect(running.port) as client:
                client.writer.write(post("/refused", f"Content-Length: {size}") + b"x" * size + get("/behind"))
                answer = await client.answer()
                assert answer.status == 429
                if says_close(answer):
                    assert size > CHEAP_DISCARD
                    assert await client.closed() == b""
                else:
                    assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "intake", [Intake(max_discard=1_000_000), Intake(discard_timeout=0.5)], ids=["max_discard", "discard_timeout"]
)
async def test_what_is_taken_behind_a_response_has_a_bound(intake: Intake) -> None:
    async def flood(port: int) -> None:
        async with Client.connect(port) as client:
            await client.send(post("/refused", "Content-Length: 10000000000"))
            assert (await client.answer()).status == 429
            while True:
                await client.send(b"x" * 65_536)
                await asyncio.sleep(0)

    async with upstream() as up, proxy(up.port, intake=intake, **RULES) as running:  # type: ignore[arg-type]
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(DEADLINE):
                await flood(running.port)
        await until(lambda: not running.server.connections)
    assert up.requests == []


async def test_one_that_says_it_goes_on_and_never_sends_the_rest_is_cut_off() -> None:
    intake = Intake(body_timeout=0.2)
    async with (
        upstream() as up,
        proxy(up.port, intake=intake, **RULES) as running,  # type: ignore[arg-type]
        Client.connect(running.port) as client,
    ):
        async with at_most(3):
            assert (await client.ask(post("/refused", "Content-Length: 10"))).status == 429
            assert await client.closed() == b""
        assert running.seen.causes == ["slow_body"]


async def test_a_client_that_leaves_in_the_rest_of_a_body_leaves_nothing_behind() -> None:
    async with upstream() as up, proxy(up.port, **RULES) as running:  # type: ignore[arg-type]
        tasks = len(asyncio.all_tasks())
        async with Client.connect(running.port) as client:
            assert (await client.ask(post("/refused", "Content-Length: 10"))).status == 429
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


# The upstream's.


async def test_a_body_over_max_body_after_a_response_that_goes_on_costs_the_next_request_nothing() -> None:
    """A body of unknown length was begun, and the response said nothing of a close: it cannot be a 413 any more."""

    async def script(talk: Conversation) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(UNAUTHORIZED if b"chunked" in head else OK)
        if b"chunked" in head:
            assert not (await talk.reader.read()).endswith(b"0\r\n\r\n")  # no whole request

    chunk = b"400\r\n" + b"x" * 1_024 + b"\r\n"
    async with (
        upstream(script) as up,
        proxy(up.port, intake=Intake(max_body=10_000)) as running,
        Client.connect(running.port) as client,
    ):
        answer = await client.ask(post("/", "Transfer-Encoding: chunked"))
        assert (answer.status, says_close(answer)) == (401, False)
        for _ in range(20):
            await client.send(chunk)
        await until(lambda: running.seen.causes == ["large_body"])
        await client.send(chunk * 20 + b"0\r\n\r\n" + get("/next"))
        assert (await client.answer()).status == 200
        assert running.seen.causes == ["large_body"]


async def _body(talk: Conversation, head: bytes) -> int:
    """Read a body to its end."""
    if b"chunked" in head:
        seen = b""
        while not seen.endswith(b"0\r\n\r\n"):
            seen += await talk.reader.read(65_536)
        return len(seen)
    return len(await talk.reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])))


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upstream_that_answers_first_and_then_reads_gets_the_whole_body(framing: str) -> None:
    taken = asyncio.Queue[int]()

    async def script(talk: Conversation) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(UNAUTHORIZED)
        taken.put_nowait(await _body(talk, head))

    field = f"Content-Length: {MUCH}" if framing == "length" else "Transfer-Encoding: chunked"
    body = b"x" * MUCH if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (MUCH, b"x" * MUCH)
    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        for _ in range(2):
            answer = await client.ask(post("/", field))
            assert (answer.status, says_close(answer)) == (401, False)
            await client.send(body)
            async with asyncio.timeout(DEADLINE):
                assert await taken.get() >= MUCH


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("then", ["closes", "resets", "stops reading"])
async def test_whatever_an_upstream_does_behind_its_early_response_no_request_behind_it_is_lost(
    framing: str, then: str
) -> None:
    over = asyncio.Event()

    async def script(talk: Conversation) -> None:
        while True:
            head = await talk.reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                await talk.send(OK)
                continue
            await talk.send(UNAUTHORIZED)
            if then == "stops reading":
                await over.wait()
            if then == "resets":
                own = talk.writer.get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return

    field = "Content-Length: 20000000" if framing == "length" else "Transfer-Encoding: chunked"
    body = b"x" * 20_000_000 if framing == "length" else b"1312d00\r\n" + b"x" * 20_000_000 + b"\r\n0\r\n\r\n"
    async with upstream(script) as up, proxy(up.port) as running:
        for _ in range(3):
            async with Client.connect(running.port) as client:
                answer = await client.ask(post("/", field))
                assert answer.status == 401
                await client.send(body + get())
                if not says_close(answer):
                    assert (await client.answer()).status == 200
        over.set()


async def test_an_upstream_that_says_close_is_heard_by_the_client() -> None:
    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(UNAUTHORIZED_AND_CLOSE)

    async with upstream(script) as up, proxy(up.port) as running:
        for size, closes in ((1_000, False), (1_000_000, True)):
            async with Client.connect(running.port) as client:
                answer = await client.ask(post("/", f"Content-Length: {size}"))
                assert (answer.status, says_close(answer)) == (401, closes)


@pytest.mark.parametrize(("says", "status"), [(UNAUTHORIZED_AND_CLOSE, 401), (b"", 502)], ids=["close", "nothing"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
async def test_when_an_upstream_closes_before_the_last_bytes_of_a_body_the_connection_goes_on(
    keys: Keys, *, over_tls: bool, says: bytes, status: int
) -> None:
    """Few bytes are missing, so the response does not say close, and the next request has to be read."""

    async def script(talk: Conversation) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            await talk.send(OK)
            return
        await talk.reader.readexactly(1_000)
        await talk.send(says)

    serving, trusting, scheme = (keys.server, keys.client, "https") if over_tls else (None, None, "http")
    async with (
        upstream(script, ssl=serving) as up,
        proxy(up.port, ssl=serving, scheme=scheme, ca=keys.authority) as running,
        Client.connect(running.port, ssl=trusting) as client,
    ):
        for _ in range(5):
            answer = await client.ask(post("/", "Content-Length: 2000") + b"x" * 1_000)
            assert (answer.status, says_close(answer)) == (status, False)
            assert (await client.ask(b"x" * 1_000 + get())).status == 200


@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
async def test_a_response_is_read_before_the_failure_to_write_counts(keys: Keys, *, over_tls: bool) -> None:
    """An upstream that closes on a body resets the connection: what it said before lies there, unread."""

    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large")

    serving, trusting, scheme = (keys.server, keys.client, "https") if over_tls else (None, None, "http")
    async with (
        upstream(script, ssl=serving) as up,
        proxy(up.port, ssl=serving, scheme=scheme, ca=keys.authority) as running,
    ):
        for size in (65_536, 1_000_000) * 30:
            async with Client.connect(running.port, ssl=trusting) as client:
                client.writer.write(post("/", f"Content-Length: {size}") + b"x" * size)
                answer = await client.answer()
                assert (answer.status, answer.body) == (413, b"too large")


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n", b""])
async def test_so_it_is_when_the_write_fails_first(framing: bytes) -> None:
    """The answer and the end of the connection wait in the socket while the gateway writes."""
    answered = asyncio.Event()

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        accepted.recv(65_536)
        accepted.sendall(b"HTTP/1.1 413 Content Too Large\r\n" + framing + b"\r\ntoo large")
        accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with proxy(listening.getsockname()[1]) as running:
            for _ in range(10):
                answered.clear()
                async with Client.connect(running.port) as client:
                    serving = asyncio.create_task(asyncio.to_thread(serve, listening))
                    await client.send(post("/", "Content-Length: 5000000"))
                    await serving
                    client.writer.write(b"x" * 5_000_000)
                    answer = await client.answer()
                    assert (answer.status, answer.body) == (413, b"too large")
