"""One of several servers that fails costs the first requests something, and after that nobody, until it is back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from struct import pack

import pytest

from gateway.settings.upstream import HealthCheck
from tests.proxy.running import proxy
from tests.waiting import until
from tests.wire import OK, Client, Conversation, ask, get, says, upstream


async def closes(talk: Conversation) -> None:
    await talk.request()


def reset(talk: Conversation) -> None:
    talk.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    talk.writer.transport.abort()


async def resets(talk: Conversation) -> None:
    await talk.request()
    reset(talk)


async def hangs(talk: Conversation) -> None:
    await talk.reader.read()
    await talk.reader.read()


@asynccontextmanager
async def refusing() -> AsyncIterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # does not listen
        yield bound.getsockname()[1]


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for filler in (first, second):  # the backlog is full: the kernel drops what comes
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listening.getsockname())
        yield listening.getsockname()[1]


@asynccontextmanager
async def talking(script: Callable[[Conversation], Awaitable[None]]) -> AsyncIterator[int]:
    async with upstream(script) as up:
        yield up.port


BAD: dict[str, Callable[[], AbstractAsyncContextManager[int]]] = {
    "refused": refusing,
    "connect_timeout": black_hole,
    "closed": lambda: talking(closes),
    "reset": lambda: talking(resets),
    "head_timeout": lambda: talking(hangs),
    "malformed": lambda: talking(says(b"SSH-2.0-OpenSSH_9.2\r\n")),
    "tls_on_http": lambda: talking(says(b"\x15\x03\x01\x00\x02\x02\x46")),
}


@pytest.mark.parametrize("reason", BAD)
async def test_a_server_that_fails_is_left_out_and_no_get_fails(reason: str) -> None:
    async with (
        BAD[reason]() as bad,
        upstream() as good,
        proxy(bad, good.port, connect_timeout=0.3, head_timeout=0.3, eject_time=60.0) as running,
    ):
        for _ in range(10):
            assert (await ask(running.port, get())).status == 200
        assert running.seen.left_out == [(f"http://127.0.0.1:{bad}", reason)]
        assert [found for _, found, _ in running.seen.upstream_failures] == [reason]
        for _ in range(10):
            assert (await ask(running.port, get(method="POST"))).status == 200


@pytest.mark.parametrize("script", [closes, resets, hangs])
async def test_a_post_is_not_sent_again_and_leaves_the_server_out(
    script: Callable[[Conversation], Awaitable[None]],
) -> None:
    async with (
        upstream(script) as bad,
        upstream() as good,
        proxy(bad.port, good.port, head_timeout=0.3, eject_time=60.0) as running,
    ):
        statuses = [(await ask(running.port, get(method="POST"))).status for _ in range(8)]
    assert sorted(statuses)[:7] == [200] * 7
    assert sorted(statuses)[7] in {502, 504}
    assert len(good.requests) == 7


PART = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"


async def breaks_off(talk: Conversation) -> None:
    await talk.request()
    await talk.send(PART)


async def stops(talk: Conversation) -> None:
    await breaks_off(talk)
    await talk.reader.read()


async def test_a_server_that_breaks_off_a_response_is_left_out() -> None:
    async with upstream(breaks_off) as bad, upstream() as good, proxy(bad.port, good.port, eject_time=60.0) as running:
        torn = 0
        for _ in range(8):
            async with Client.connect(running.port) as client:
                await client.send(get("/", "Connection: close"))
                torn += not (await client.closed()).endswith(b"\r\n\r\nok")
        assert torn == 1
        assert [address for address, _ in running.seen.left_out] == [f"http://127.0.0.1:{bad.port}"]


async def test_a_server_that_is_silent_in_the_middle_of_a_response_is_not_left_out() -> None:
    """A stream of events may be silent for long although its server works."""
    async with (
        upstream(stops) as quiet,
        upstream() as good,
        proxy(quiet.port, good.port, idle_timeout=0.1, eject_time=60.0) as running,
    ):
        for _ in range(4):
            async with Client.connect(running.port) as client:
                await client.send(get("/", "Connection: close"))
                await client.closed()
        assert running.seen.left_out == []
    assert len(quiet.requests) == 2


async def test_a_server_that_hangs_is_taken_back_by_a_probe_once_it_responds() -> None:
    works = asyncio.Event()
    probes: list[bytes] = []

    async def script(talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if request.start.startswith(b"OPTIONS *"):
                probes.append(request.start)
            if not works.is_set():
                await talk.reader.read()
                return
            await talk.send(OK)

    async with (
        upstream(script) as bad,
        upstream() as good,
        proxy(bad.port, good.port, head_timeout=0.2, eject_time=0.1) as running,
    ):
        for _ in range(2):
            assert (await ask(running.port, get())).status == 200
        await until(lambda: len(probes) >= 2)
        requests = len(bad.requests) - len(probes)
        assert requests == 1, "only the gateway's own requests went there"
        works.set()
        await until(lambda: running.seen.back == [f"http://127.0.0.1:{bad.port}"])
        for _ in range(4):
            assert (await ask(running.port, get(method="POST"))).status == 200
    assert len(bad.requests) - len(probes) == 3


async def test_if_all_servers_are_left_out_requests_are_tried_all_the_same() -> None:
    async with (
        upstream(closes) as one,
        upstream(closes) as other,
        proxy(one.port, other.port, eject_time=60.0) as running,
    ):
        for _ in range(3):
            assert (await ask(running.port, get())).status == 502
        assert len(running.seen.left_out) == 2
    assert len(one.requests) == len(other.requests) == 3, "each request is sent to each server once"


async def test_with_an_eject_time_of_zero_no_server_is_left_out() -> None:
    async with upstream(closes) as bad, upstream() as good, proxy(bad.port, good.port, eject_time=0.0) as running:
        for _ in range(4):
            assert (await ask(running.port, get())).status == 200
        assert running.seen.left_out == []
    assert len(bad.requests) > 1


HEALTH = HealthCheck("/up?deep=1", every=0.05, timeout=0.3, failures=2)


async def test_a_server_that_fails_its_health_check_gets_no_requests_until_it_is_healthy_again() -> None:
    """It responds to requests; only its check says that it should get none."""
    healthy = False

    async def half_dead(talk: Conversation) -> None:
        while True:
            request = await talk.request()
            is_check = request.start == b"GET /up?deep=1 HTTP/1.1"
            await talk.send(OK if healthy or not is_check else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    async with upstream(half_dead) as bad, upstream() as good:
        async with proxy(bad.port, good.port, health=HEALTH, eject_time=0.05) as running:
            await until(lambda: running.seen.left_out)
            assert running.seen.left_out == [(f"http://127.0.0.1:{bad.port}", "unhealthy")]
            for _ in range(6):
                assert (await ask(running.port, get("/for-a-client"))).status == 200
            assert not [each for each in bad.requests if b"/for-a-client" in each.start]
            healthy = True
            await until(lambda: running.seen.back)
            while not [each for each in bad.requests if b"/for-a-client" in each.start]:
                assert (await ask(running.port, get("/for-a-client"))).status == 200
        seen = len(good.requests)
        await asyncio.sleep(0.2)
        assert len(good.requests) == seen, "no check comes after the end"


async def test_a_single_server_is_checked_and_tried_all_the_same() -> None:
    async def unhealthy(talk: Conversation) -> None:
        while True:
            request = await talk.request()
            await talk.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" if b"/up" in request.start else OK)

    async with upstream(unhealthy) as up, proxy(up.port, health=HEALTH) as running:
        await until(lambda: running.seen.upstream_failures)
        assert (await ask(running.port, get())).status == 200
