"""Faults of clients and of upstreams: slow ones, those that stop, and those that go away."""

import asyncio
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable

from benchmarks.fleet.clients import HOT, TIMEOUT, Record, head
from benchmarks.fleet.episode import Episode
from benchmarks.fleet.fleet import IDLE_TIMEOUT, Gateway
from tests.kit.process import resident
from tests.wire import Client, read_head

SLOW, LEAVING, SHAKY = "slow", "leaving", "shaky"
"""Kinds of requests: of slow clients, of clients that go away, and to the upstream that misbehaves."""

_SIZE = 1 << 20
_STEP = 0.05
"""Seconds between two pieces that a slow client sends or reads."""

MAX_GROWTH = 768 << 10
"""Bytes by which a worker may grow for each slow client: a read of each side, and what waits to be written."""

_SPARE = 8 << 20
"""Bytes by which a worker may grow for any other reason, such as a user it has not met."""


async def _together(number: int, one: Callable[[int], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in range(number):
            group.create_task(one(each))


async def _growth(gateway: Gateway, run: Awaitable[None]) -> int:
    """By how many bytes the workers of a gateway grew at most meanwhile."""
    before = sum(map(resident, gateway.workers))
    most = before
    running = asyncio.ensure_future(run)
    while not running.done():
        await asyncio.wait([running], timeout=0.05)
        most = max(most, sum(map(resident, gateway.workers)))
    await running
    return most - before


async def _measured(episode: Episode, gateway: Gateway, run: Awaitable[None], number: int) -> None:
    grown = await _growth(gateway, run)
    episode.notes.append(f"{number} of them took {grown / 2**20:.1f} MiB")
    episode.expect(grown <= number * MAX_GROWTH + _SPARE, f"{number} slow peers took {grown / 2**20:.1f} MiB")


async def slow_readers(episode: Episode, gateway: Gateway | None = None, number: int = 20) -> None:
    """Each takes a MiB in small pieces, and gets all of it."""
    gateway = gateway or episode.one_gateway()

    async def read(_: int) -> None:
        record = episode.clients.record(SLOW, gateway, "GET", "reader")
        episode.statuses.setdefault(SLOW, set()).add(429)
        async with Client.connect(gateway.port, limit=16_384) as client:
            raw = client.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            await client.send(head(record, f"/bytes/{_SIZE}", 0))
            answer = await read_head(client.reader)
            left = int(answer.one(b"content-length"))
            pieces = max(1, round(episode.seconds / _STEP))
            while left:
                data = await client.reader.read(max(4096, _SIZE // pieces))
                if not data:
                    record.why = f"{left} bytes are missing"
                    return
                left -= len(data)
                if answer.status == 200:
                    await asyncio.sleep(_STEP)
            record.status, record.ended = answer.status, time.monotonic()

    await _measured(episode, gateway, _together(number, read), number)


async def slow_uploads(episode: Episode) -> None:
    """Each sends its body in small pieces, and all of it arrives."""
    gateway = episode.one_gateway()
    pieces = max(2, round(episode.seconds / _STEP))

    async def send(number: int) -> None:
        record = episode.clients.record(SLOW, gateway, "POST", f"sender{number}")
        async with Client.connect(gateway.port) as client:
            await client.send(head(record, "/v1/orders", pieces * 1000))
            for _ in range(pieces):
                await client.send(b"x" * 1000)
                await asyncio.sleep(_STEP)
            await _finish(client, record)

    await _measured(episode, gateway, _together(20, send), 20)


async def _finish(client: Client, record: Record) -> None:
    async with asyncio.timeout(TIMEOUT):
        try:
            record.status = (await client.answer()).status
        except (OSError, EOFError) as error:
            record.why = repr(error)
    record.ended = time.monotonic()


async def slow_heads(episode: Episode) -> None:
    """Connections that send a byte of a head now and then, and never all of it."""
    gateway = episode.one_gateway()

    async def dribble(_: int) -> None:
        async with Client.connect(gateway.port) as client:
            for byte in b"GET /v1/orders/1 HTTP/1.1\r\nHost: x\r\nX-Slow: "[: round(episode.seconds / _STEP)]:
                await client.send(bytes([byte]))
                await asyncio.sleep(_STEP)

    await _measured(episode, gateway, _together(100, dribble), 100)


async def clients_abort(episode: Episode) -> None:
    """In the middle of a body, while they wait, and in the middle of the response: by closing and by resetting."""
    episode.unanswered.add(LEAVING)
    episode.renamed = True
    until = time.monotonic() + episode.seconds
    number = 0
    while time.monotonic() < until:
        gateway = episode.random.choice(episode.fleet.gateways)
        await _abort(episode, gateway, number)
        number += 1
        await asyncio.sleep(0.01)
    episode.notes.append(f"{number} aborts")


async def _abort(episode: Episode, gateway: Gateway, number: int) -> None:
    user = f"leaver{number}"
    method, path, length = (("POST", "/v1/orders", 1000), ("GET", "/shaky/trickle", 0), ("GET", f"/bytes/{_SIZE}", 0))[
        number % 3
    ]
    record = episode.clients.record(LEAVING, gateway, method, user)
    record.why = "it left"
    async with Client.connect(gateway.port, limit=16_384) as client:
        await client.send(head(record, path, length) + b"x" * (length // 2))
        if path.startswith("/bytes/"):
            await client.reader.read(1000)
        else:
            await asyncio.sleep(episode.random.uniform(0, 0.02))
        if number % 2:
            raw = client.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def hot_user(episode: Episode) -> None:
    """Two users send ten times as much as they otherwise do, nearly all of which is refused."""
    gateways = episode.fleet.gateways
    until = time.monotonic() + episode.seconds

    async def ask(number: int) -> None:
        while time.monotonic() < until:
            await episode.clients.ask(HOT, gateways[number % 2], "GET", "/v1/orders/7", user=f"hot{number % 2}")
            await asyncio.sleep(0.02)

    await _together(16, ask)


def _shaky(episode: Episode, *paths: str) -> Callable[[], tuple[str, str, bytes]]:
    """Requests to the upstream that misbehaves, every third with a body."""
    numbers = iter(range(1_000_000))

    def request() -> tuple[str, str, bytes]:
        path = episode.random.choice(paths)
        return ("POST", path, b"{}") if next(numbers) % 3 == 0 else ("GET", path, b"")

    return request


async def upstream_killed(episode: Episode) -> None:
    """And started again. Meanwhile its requests are 502; those in flight are not repeated if that could do harm."""
    upstream = episode.fleet.shaky
    episode.statuses[SHAKY] = {502}
    episode.repeated.add(SHAKY)
    async with episode.clients.also(SHAKY, _shaky(episode, "/shaky/order"), 0.02):
        await asyncio.sleep(episode.seconds / 3)
        await upstream.kill()
        await asyncio.sleep(episode.seconds / 3)
        await upstream.start()
        await asyncio.sleep(episode.seconds / 3)
    for gateway in episode.fleet.gateways:
        record = await episode.clients.ask(SHAKY, gateway, "GET", "/shaky/order")
        episode.expect(record.status == 200, f"the upstream is back, and gateway {gateway.name} says {record.status}")


async def upstream_stopped(episode: Episode) -> None:
    """It accepts connections, as the kernel does that for it, and says nothing: 504 after `head_timeout`."""
    upstream = episode.fleet.shaky
    episode.statuses[SHAKY] = {504}
    async with episode.clients.also(SHAKY, _shaky(episode, "/shaky/order"), 0.02):
        await asyncio.sleep(episode.seconds / 3)
        upstream.signal(signal.SIGSTOP)
        await asyncio.sleep(max(episode.seconds / 3, 1.5 * IDLE_TIMEOUT))
        upstream.signal(signal.SIGCONT)
        await asyncio.sleep(episode.seconds / 3)


async def upstream_misbehaves(episode: Episode) -> None:
    """Trickles, hangs, stalls, tears its responses and resets instead of them."""
    episode.statuses[SHAKY] = {502, 504}
    episode.unanswered.add(SHAKY)
    episode.repeated.add(SHAKY)
    paths = ("/shaky/trickle", "/shaky/hang", "/shaky/stall", "/shaky/torn", "/shaky/reset")
    async with episode.clients.also(SHAKY, _shaky(episode, *paths), 0.02):
        await asyncio.sleep(max(episode.seconds, 1.5 * IDLE_TIMEOUT))
    for record in (each for each in episode.clients.records if each.kind == SHAKY):
        took = record.ended - record.sent
        episode.expect(took < TIMEOUT / 2, f"{record.id} had to wait {took:.1f} s")


async def upstream_reads_slowly(episode: Episode) -> None:
    """Clients that send as fast as they can are held back, and nothing is lost."""
    gateway = episode.one_gateway()
    pieces = max(2, round(episode.seconds / _STEP))
    size = pieces * 65_536

    async def send(number: int) -> None:
        record = episode.clients.record(SLOW, gateway, "POST", f"pusher{number}")
        async with Client.connect(gateway.port) as client:
            async with asyncio.timeout(TIMEOUT):
                await client.send(head(record, "/slow/sip", size) + b"x" * size)
            await _finish(client, record)

    await _measured(episode, gateway, _together(10, send), 10)
