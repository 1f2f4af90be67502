"""Clients that take more than their share: slow, many, large. Each meets a bound, and others are served meanwhile."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from statistics import median
from time import process_time

import pytest

from gateway.limits.endpoint import Endpoint, Template
from gateway.settings.intake import Intake
from tests.hostile.wire import converse
from tests.kit.identity import make_identity
from tests.proxy.running import Running, proxy
from tests.waiting import DEADLINE, at_most, eventually, until
from tests.wire import OK, Client, Conversation, Upstream, ask, get, says, upstream

STRANGERS = make_identity(trusted_proxies=(ip_network("10.0.0.0/8"),))
MANY = 2_000
"""Sockets of an attack; their other ends are ours as well."""

SHARE = 4.0
"""Times the wait alone that a well-behaved client may wait during an attack, and not less than `FLOOR`; in CPU time of
this process, in which all that is waited for happens: the machine's mood is no part of it."""

FLOOR = 0.05


@pytest.fixture(autouse=True)
def _room_for_sockets() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * MANY <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * MANY, hard))


@asynccontextmanager
async def crowd(running: Running, first: bytes, number: int = MANY) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """So many connections, each of which has sent something."""
    streams = []
    for start in range(0, number, 500):
        opening = [asyncio.open_connection("127.0.0.1", running.port) for _ in range(start, min(start + 500, number))]
        streams += await asyncio.gather(*opening)
    for _, writer in streams:
        writer.write(first)
    try:
        yield [writer for _, writer in streams]
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def latency(running: Running, times: int = 200) -> float:
    """What a well-behaved client waits."""
    waits = []
    async with Client.connect(running.port) as client:
        for _ in range(times):
            began = process_time()
            assert (await client.ask(get("/fine"))).status == 200
            waits.append(process_time() - began)
    return median(waits)


@pytest.mark.parametrize(
    ("attack", "first"),
    [
        ("idle", b""),
        ("half a head", b"GET / HTTP/1.1\r\nHost: gw.test\r\nX-Slow: "),
        ("half a body", b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1000\r\n\r\nx"),
    ],
)
async def test_thousands_of_slow_connections_do_not_slow_others_down(attack: str, first: bytes) -> None:
    async def script(talk: Conversation) -> None:
        while True:
            head = await talk.reader.readuntil(b"\r\n\r\n")
            if b"POST" in head:
                await talk.reader.read()
            await talk.send(OK)

    async with upstream(script) as up, proxy(up.port, max_connections=10_000) as running:
        alone = await latency(running)
        async with crowd(running, first):
            beset = await latency(running)
        assert beset < max(SHARE * alone, FLOOR), (attack, alone, beset)


async def test_a_head_that_does_not_end_is_a_408_and_costs_no_token() -> None:
    async with upstream() as up, proxy(up.port, intake=Intake(head_timeout=0.2)) as running:
        slow = [converse(running.port, [get()[:n]]) for n in range(1, len(get()))]
        heard = await asyncio.gather(*slow)
        assert {h.raw.split(b"\r\n")[0] for h in heard} == {b"HTTP/1.1 408 Request Timeout"}
        assert running.seen.causes == ["slow_head"] * len(slow)
        assert running.seen.verdicts == []
    assert up.connections == 0


async def test_bytes_that_trickle_in_do_not_move_the_deadline_of_a_head() -> None:
    intake = Intake(head_timeout=0.3)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        trickle = asyncio.create_task(_trickle(client, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000))
        assert (await client.answer()).status == 408
        trickle.cancel()


async def test_empty_lines_in_front_of_a_head_do_not_stretch_its_deadline() -> None:
    intake = Intake(head_timeout=1.0, idle_timeout=2 * DEADLINE)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await until(lambda: running.server.connections)
        (connection,) = running.server.connections
        await client.send(b"\r\n")
        await until(lambda: connection._requests._head_size)
        assert not connection._requests.begun
        await until(lambda: connection._deadline._at > connection._loop.time() + DEADLINE)  # it goes on to idle
        await client.send(b"GET / HT")
        assert (await client.answer()).status == 408
        assert running.seen.causes == ["slow_head"]


async def _trickle(client: Client, data: bytes) -> None:
    for n in range(len(data)):
        await client.send(data[n : n + 1])
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("raw", "status"), [(get(), 200), (get("/", "bad name: x"), 400)])
async def test_what_comes_in_the_turn_in_which_the_deadline_is_over_has_come_in_time(raw: bytes, status: int) -> None:
    intake = Intake(idle_timeout=0.05, head_timeout=0.05)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await until(lambda: running.server.connections)
        client.writer.write(raw)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is busy, and then finds both
        assert (await client.answer()).status == status
        if status == 200:
            assert await client.closed() == b""


async def test_a_body_slower_than_the_least_rate_is_a_408() -> None:
    intake = Intake(body_timeout=0.3, least_rate=1_000)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000\r\n\r\n")
        trickle = asyncio.create_task(_trickle(client, b"y" * 100_000))
        assert (await client.answer()).status == 408
        trickle.cancel()
        assert running.seen.causes == ["slow_body"]
    assert up.requests == []


async def test_a_body_at_the_least_rate_may_take_longer_than_the_timeout() -> None:
    intake = Intake(body_timeout=0.5, least_rate=1)
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 30\r\n\r\n")
        await _trickle(client, b"y" * 30)
        assert (await client.answer()).status == 200
    assert up.requests[0].body == b"y" * 30


@pytest.mark.parametrize(
    ("first", "more"), [(b"5;", b"a" * 1_000), (b"5", b";a=b" * 250), (b"", b"0" * 1_000), (b'5;a="', b"a" * 1_000)]
)
async def test_a_chunk_that_never_comes_to_its_content_is_a_400(first: bytes, more: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(head + first)
        endless = asyncio.create_task(_endlessly(client, more))
        answer = await client.answer()
        endless.cancel()
    assert answer.status == 400
    assert answer.one(b"Connection") == b"close"
    assert up.requests == []


async def _endlessly(client: Client, data: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            await client.send(data)
            await asyncio.sleep(0)


async def test_a_client_that_does_not_take_its_response_is_cut_off() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000
    async with (
        upstream(says(raw)) as up,
        proxy(up.port, intake=Intake(answer_timeout=0.3, least_rate=1_000_000_000)) as running,
        Client.connect(running.port, limit=1024) as client,
    ):
        await client.send(get())
        await until(lambda: running.seen.fates)
        assert running.seen.causes == ["slow_reader"]


async def test_pipelined_responses_that_nobody_takes_are_not_piled_up() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20_000
    async with (
        upstream(says(raw)) as up,
        proxy(up.port, intake=Intake(answer_timeout=0.5)) as running,
        Client.connect(running.port, limit=1024) as client,
    ):
        client.writer.write(get() * 20_000)
        await until(lambda: "slow_reader" in running.seen.causes)
    assert len(up.requests) < 2_000, "what the sockets hold, and no more"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_over_the_endpoints_bound_is_a_413_and_no_whole_request(framing: str) -> None:
    endpoints = [Endpoint("small", Template.parse("/small"), max_body=1_000)]
    head = b"POST /%b HTTP/1.1\r\nHost: gw.test\r\n"
    if framing == "length":
        rest = b"Content-Length: 2000\r\n\r\n" + b"x" * 2_000
    else:
        rest = b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1_000 + b"\r\n1\r\nx\r\n0\r\n\r\n"
    async with upstream() as up, proxy(up.port, endpoints=endpoints) as running:
        assert (await ask(running.port, head % b"small" + rest)).status == 413
        assert running.seen.causes == ["large_body"]
        assert (await ask(running.port, head % b"large" + rest)).status == 200
    assert len(up.requests) == 1


async def test_a_worker_holds_so_many_connections_and_no_more() -> None:
    intake = Intake(max_connections=50)
    async with upstream() as up, proxy(up.port, intake=intake) as running:
        async with crowd(running, b"", 50):
            answer = await ask(running.port, get())
            assert (answer.status, answer.body) == (503, b"Service Unavailable\n")
            assert running.seen.causes == ["too_many"]
        await _recovered(running)


async def test_one_address_holds_so_many_connections_and_no_more() -> None:
    intake = Intake(max_connections_per_address=50)
    async with upstream() as up, proxy(up.port, intake=intake, identity=STRANGERS) as running:
        async with crowd(running, b"", 50):
            assert (await ask(running.port, get())).status == 503
            assert running.seen.causes == ["too_many_of_one"]
        await _recovered(running)


async def test_a_trusted_proxy_holds_those_of_many_clients() -> None:
    intake = Intake(max_connections_per_address=50)
    async with upstream() as up, proxy(up.port, intake=intake) as running, crowd(running, b"", 100):
        assert (await ask(running.port, get())).status == 200


async def _recovered(running: Running) -> None:
    """The others have gone, and there is room again."""

    async def is_served() -> bool:
        return (await ask(running.port, get())).status == 200

    await eventually(is_served)


async def test_an_upstream_that_hangs_takes_its_share_of_connections_and_no_more() -> None:
    asked = asyncio.Queue[Upstream]()

    async def silent(talk: Conversation) -> None:
        await talk.request()
        asked.put_nowait(talk.upstream)
        await talk.reader.read()

    async with upstream(silent) as up, proxy(up.port, max_connections=20) as running:
        waiting = [asyncio.create_task(ask(running.port, get())) for _ in range(20)]
        for _ in waiting:
            await asked.get()
        async with at_most(1.0):
            assert (await ask(running.port, get())).status == 503
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
