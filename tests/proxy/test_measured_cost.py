"""What requests have cost, measured on the wire, and charged when they have ended, however they did."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import aiohttp
import pytest

from gateway.limiter.memory import MemoryLimiter
from gateway.limits.charge import Demand
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.measured_cost import MeasuredCost, Measurement, Unmeasured
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.redis.clock import StoreClock
from gateway.settings.door import Doors, ForwardAuth
from gateway.settings.listener import Listener
from tests.proxy.running import Running, proxy
from tests.proxy.test_tunnel import echo_server
from tests.waiting import DEADLINE, until
from tests.wire import Client, Conversation, Script, ask, get, says, upstream

QUOTA = Quota(Rate(1, 86_400), 100)
BY_HEADER = MeasuredCost(estimate=20, at_most=50, header=b"x-cost", give_back_on=frozenset({503}))
BY_SIZE = MeasuredCost(at_most=50, per=1000)
FAILED_LOGINS = MeasuredCost(charge_on=frozenset({401, 403}))


def ends(status: int = 200, *fields: str, body: bytes = b"ok") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", *fields, f"Content-Length: {len(body)}", ""))
    return head.encode() + body


@dataclass
class Metered:
    """A proxy with one endpoint of a measured cost, under one limit that all share."""

    running: Running
    limiter: MemoryLimiter

    async def spent(self) -> int:
        """Tokens that the bucket owes, as a request that begins now finds it."""
        (demand,) = self.running.seen.demands[0]
        verdict = await self.limiter.check([Demand(demand.key, demand.charge.with_cost(0))])
        return -(-verdict.decision.owed[0] // QUOTA.interval)

    async def measured(self, number: int = 1) -> Measurement:
        await until(lambda: len(self.running.seen.measurements) == number)
        return self.running.seen.measurements[-1]


def reset(client: Client) -> None:
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


@asynccontextmanager
async def metered(cost: MeasuredCost, *ports: int, doors: Doors = Doors()) -> AsyncIterator[Metered]:
    endpoint = Endpoint("all", Template.parse("/{rest...}"), cost=cost.estimate, measured_cost=cost)
    limiter = MemoryLimiter(1000, StoreClock())
    limits = [Limit("all", (), QUOTA)]
    async with proxy(*ports, limits=limits, endpoints=[endpoint], limiter=limiter, doors=doors) as running:
        yield Metered(running, limiter)


@pytest.mark.parametrize(
    ("fields", "measurement"),
    [
        (["X-Cost: 7"], Measurement(20, 7)),
        (["x-COST:  49 "], Measurement(20, 49)),
        (["X-Cost: 0"], Measurement(20, 0)),
        (["X-Cost: 51"], Measurement(20, 50, Unmeasured.ABOVE_MOST)),
        ([], Measurement(20, 20, Unmeasured.MISSING)),
        (["X-Cost: 7", "X-Cost: 7"], Measurement(20, 20, Unmeasured.REPEATED)),
        (["X-Cost: seven"], Measurement(20, 20, Unmeasured.INVALID)),
    ],
)
async def test_a_header_states_the_cost_and_clients_never_see_it(fields: list[str], measurement: Measurement) -> None:
    async with upstream(says(ends(200, *fields, "X-Other: 1"))) as up, metered(BY_HEADER, up.port) as gateway:
        answer = await ask(gateway.running.port, get("/a"))
        assert (answer.all(b"x-cost"), answer.one(b"x-other"), answer.body) == ([], b"1", b"ok")
        assert await gateway.measured() == measurement
        assert await gateway.spent() == measurement.cost


async def test_an_interim_response_states_no_cost_and_shows_none() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Cost: 3\r\n\r\n"
    async with (
        upstream(says(early + ends(200, "X-Cost: 7"))) as up,
        metered(BY_HEADER, up.port) as gateway,
        Client.connect(gateway.running.port) as client,
    ):
        hints = await client.ask(get("/a"))
        assert (hints.status, hints.one(b"link"), hints.all(b"x-cost")) == (103, b"</a>", [])
        assert (await client.answer()).all(b"x-cost") == []
        assert await gateway.measured() == Measurement(20, 7)


async def test_an_overrun_is_owed_and_refuses_until_it_is_paid_for() -> None:
    costly = MeasuredCost(estimate=60, at_most=500, header=b"x-cost")
    async with upstream(says(ends(200, "X-Cost: 350"))) as up, metered(costly, up.port) as gateway:
        assert (await ask(gateway.running.port, get("/a"))).status == 200
        await gateway.measured()
        assert (await ask(gateway.running.port, get("/a"))).status == 429
        assert await gateway.spent() == 350


@pytest.mark.parametrize(("size", "cost"), [(0, 1), (1000, 1), (1001, 2), (10_000, 10), (200_000, 50)])
async def test_bytes_that_were_sent_cost_tokens_whatever_the_framing(size: int, cost: int) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b"".join(b"%x\r\n%b\r\n" % (1000, b"x" * 1000) for _ in range(size // 1000))
    rest = size % 1000
    pieces += b"%x\r\n%b\r\n" % (rest, b"x" * rest) if rest else b""
    for raw in (ends(body=b"x" * size), chunked + pieces + b"0\r\n\r\n"):
        async with upstream(says(raw)) as up, metered(BY_SIZE, up.port) as gateway:
            assert len((await ask(gateway.running.port, get("/a"))).body) == size
            assert (await gateway.measured()).cost == cost
            assert await gateway.spent() == cost


async def test_a_client_that_leaves_pays_for_what_it_got() -> None:
    left = asyncio.Event()

    async def stream(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + b"x" * 4500)
        await left.wait()
        await talk.send(b"x" * 35_500)

    async with upstream(stream) as up, metered(BY_SIZE, up.port) as gateway:
        async with Client.connect(gateway.running.port) as client:
            await client.send(get("/a"))
            await client.reader.readexactly(len("HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n") + 4500)
            reset(client)
        measured = await gateway.measured()
        left.set()
        assert measured.cost == 5
        assert await gateway.spent() == 5


async def test_what_a_websocket_sends_to_the_client_costs_when_it_is_closed() -> None:
    async with echo_server() as port, metered(BY_SIZE, port) as gateway, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{gateway.running.port}/chat") as chat:
            for _ in range(3):
                await chat.send_bytes(b"x" * 1500)
                await chat.receive_bytes(timeout=DEADLINE)
            assert gateway.running.seen.measurements == []
            assert await gateway.spent() == 1
        assert (await gateway.measured()).cost == 5  # and a few bytes of frames
        assert await gateway.spent() == 5


async def test_only_failed_logins_are_charged() -> None:
    async def log_in(talk: Conversation) -> None:
        while True:
            message = await talk.request()
            await talk.send(ends(401 if b"wrong" in message.start else 200))

    async with upstream(log_in) as up, metered(FAILED_LOGINS, up.port) as gateway:
        for path in ("/right", "/wrong", "/right", "/wrong", "/right"):
            await ask(gateway.running.port, get(path))
        await gateway.measured(5)
        assert await gateway.spent() == 2


async def test_guessing_is_not_free_for_a_client_that_hangs_up_before_the_response() -> None:
    asked = asyncio.Event()

    async def never(talk: Conversation) -> None:
        await talk.request()
        asked.set()
        await asyncio.Event().wait()

    async with upstream(never) as up, metered(FAILED_LOGINS, up.port) as gateway:
        async with Client.connect(gateway.running.port) as client:
            await client.send(get("/a"))
            async with asyncio.timeout(DEADLINE):
                await asked.wait()
            reset(client)
        assert (await gateway.measured()).cost == 1
        assert await gateway.spent() == 1


async def hangs_up(talk: Conversation) -> None:
    await talk.request()


@pytest.mark.parametrize(
    ("script", "status", "cost"),
    [(says(ends(503, "X-Cost: 9")), 503, 0), (says(ends(500, "X-Cost: 9")), 500, 9), (hangs_up, 502, 20)],
)
async def test_some_statuses_give_back_and_a_response_that_breaks_off_does_not(
    script: Script, status: int, cost: int
) -> None:
    async with upstream(script) as up, metered(BY_HEADER, up.port) as gateway:
        assert (await ask(gateway.running.port, get("/a", method="POST"))).status == status
        assert (await gateway.measured()).cost == cost
        assert await gateway.spent() == cost


async def test_what_never_reached_an_upstream_costs_nothing() -> None:
    async with upstream() as up:
        port = up.port
    async with metered(BY_HEADER, port) as gateway:
        assert (await ask(gateway.running.port, get("/a"))).status == 502
        assert await gateway.measured() == Measurement(20, 0)
        assert await gateway.spent() == 0


async def test_at_a_door_no_response_is_seen_and_the_estimate_stays() -> None:
    door = ForwardAuth((ip_network("127.0.0.0/8"),), (Listener(port=0),))
    async with metered(BY_HEADER, 9, doors=Doors(door)) as gateway:
        asked = get("/", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /a", "X-Forwarded-Host: a.test")
        assert (await ask(gateway.running.doors["forward_auth"], asked)).status == 200
        assert await gateway.measured() == Measurement(20, 20)
        assert await gateway.spent() == 20
