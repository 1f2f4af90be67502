"""Decisions, seen from outside: who is charged, what a refusal says, and what is not served at all."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import ClassVar

import pytest

from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity_source import Claim, Sender
from gateway.limits.limit import Exemption, Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.settings.intake import Intake
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.wire import Client, ask, get, upstream

SLOW = Rate(1, 86_400)


def limited(name: str = "all", burst: int = 1, *, user: bool = True, endpoint: bool = False, **more: object) -> Limit:
    per = ("user",) * user + ("endpoint",) * endpoint
    return Limit(name, per, Quota(SLOW, burst), **more)  # type: ignore[arg-type]


async def statuses(port: int, *requests: bytes) -> list[int]:
    return [(await ask(port, request)).status for request in requests]


async def test_a_burst_passes_and_the_rest_is_refused_and_never_reaches_the_upstream() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(burst=3)]) as running:
        assert await statuses(running.port, *[get()] * 5) == [200, 200, 200, 429, 429]
    assert len(up.requests) == 3


async def test_users_have_buckets_of_their_own() -> None:
    ana, ben = "X-User-Id: ana", "X-User-Id: ben"
    async with upstream() as up, proxy(up.port, limits=[limited()]) as running:
        assert await statuses(running.port, get("/", ana), get("/", ana), get("/", ben)) == [200, 429, 200]


async def test_without_a_user_the_address_is_charged_and_a_new_connection_is_no_new_caller() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited()]) as running:
        assert await statuses(running.port, get("/a"), get("/b")) == [200, 429]


async def test_a_header_from_a_stranger_buys_no_bucket() -> None:
    identity = make_identity(trusted_proxies=(ip_network("10.0.0.0/8"),))
    async with upstream() as up, proxy(up.port, limits=[limited()], identity=identity) as running:
        lies = [get("/", f"X-User-Id: {n}", f"X-Forwarded-For: 203.0.113.{n}") for n in range(3)]
        assert await statuses(running.port, *lies) == [200, 429, 429]


async def test_an_endpoint_has_its_own_limit_and_no_spelling_gets_round_it() -> None:
    endpoints = [Endpoint("orders", Template.parse("/v1/orders/{id}"), frozenset({"GET"}))]
    limits = [limited("orders-each", endpoint=True, endpoints=frozenset({"orders"}))]
    async with upstream() as up, proxy(up.port, limits=limits, endpoints=endpoints) as running:
        assert await statuses(running.port, get("/v1/orders/7"), get("/other"), get("/v1/orders/8")) == [200, 200, 429]
        spellings = ["/V1/orders/7", "//v1//orders/7", "/v1/%6frders/7", "/v1/orders/7/", "/v1/orders;x=y/7"]
        for spelling in spellings:
            assert (await ask(running.port, get(spelling))).status == 429, spelling
        assert (await ask(running.port, get("/v1/orders/7", method="HEAD"))).status == 429
        assert (
            await ask(running.port, b"GET http://x.test/v1/orders/7 HTTP/1.1\r\nHost: y.test\r\n\r\n")
        ).status == 429


@pytest.mark.parametrize(
    "path", ["/v1/../v1/orders", "/%2e%2e/x", "/a%2fb", "/a%5cb", "/a%00b", "/a%252e", "/%", "/a\\b"]
)
async def test_a_path_that_servers_read_differently_is_refused(path: str) -> None:
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        assert (await client.ask(get(path))).status == 400
        assert await client.closed() == b""
    assert up.requests == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("TRACE / HTTP/1.1", 405),
        ("CONNECT gw.test:443 HTTP/1.1", 405),
        ("GET / HTTP/2.0", 505),
        ("OPTIONS * HTTP/1.1", 400),
        ("GET ftp://gw.test/ HTTP/1.1", 400),
    ],
)
async def test_what_is_no_request_to_an_upstream_is_not_forwarded(request_line: str, status: int) -> None:
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(f"{request_line}\r\nHost: gw.test\r\n\r\n".encode())
        assert answer.status in {status, 400}
        assert await client.closed() == b""
    assert up.requests == []


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n",
        b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_request_that_cannot_be_read_in_one_way_is_a_400_and_the_end(raw: bytes) -> None:
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(raw)
        assert (answer.status, answer.body) == (400, b"Bad Request\n")
        assert await client.closed() == b""
    assert up.requests == []


async def test_a_head_that_is_too_large_is_a_431() -> None:
    async with upstream() as up, proxy(up.port) as running:
        assert (await ask(running.port, get("/", "X: " + "y" * 20_000))).status == 431


SIZES = Intake(max_line=200, max_header=200, max_headers=5, max_head=450)


@pytest.mark.parametrize(
    ("intake", "target", "headers", "status"),
    [
        (SIZES, "/" + "a" * 199, ["X: " + "y" * 199], 200),
        (SIZES, "/" + "a" * 200, [], 414),
        (SIZES, "/?" + "a" * 199, [], 414),
        (SIZES, "/" + "a" * 60_000, [], 414),
        (SIZES, "http://gw.test/" + "a" * 200, [], 414),
        (SIZES, "/", ["X: " + "y" * 201], 431),
        (SIZES, "/", ["X: /" + "y" * 60_000], 431),
        (SIZES, "/", ["Y" * 201 + ": x"], 431),
        (SIZES, "/", [f"X-{n}: y" for n in range(5)], 431),
        (SIZES, "/" + "a" * 150, [f"X-{n}: " + "y" * 150 for n in range(2)], 431),
        (replace(SIZES, max_header=300), "/" + "a" * 200, [], 414),
        (replace(SIZES, max_header=300), "/", ["X: " + "y" * 301], 431),
        (replace(SIZES, max_line=9000), "/" + "a" * 600, [], 414),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
async def test_a_target_that_is_too_long_is_a_414_and_headers_that_are_too_large_are_a_431(
    intake: Intake, target: str, headers: list[str], status: int, *, whole: bool
) -> None:
    raw = "\r\n".join([f"GET {target} HTTP/1.1", "Host: gw.test", *headers, "", ""]).encode()
    pieces = [raw] if whole else [raw[place : place + 90] for place in range(0, min(len(raw), 1800), 90)]
    async with upstream() as up, proxy(up.port, intake=intake) as running, Client.connect(running.port) as client:
        for piece in pieces[:-1]:
            await client.send(piece)
        assert (await client.ask(pieces[-1])).status == status


async def test_a_refusal_is_the_same_bytes_whatever_the_cause() -> None:
    endpoints = [Endpoint("a", Template.parse("/a")), Endpoint("b", Template.parse("/b"), cost=5)]
    limits = [
        limited("users", user=True, tiers={"gold": Quota(SLOW, 2)}),
        limited("a-total", user=False, endpoint=True, endpoints=frozenset({"a"})),
        limited("b-each", burst=3, endpoint=True, endpoints=frozenset({"b"})),
    ]
    gold = ("X-User-Id: gold", "X-User-Tier: gold")
    refused: set[bytes] = set()
    async with upstream() as up, proxy(up.port, limits=limits, endpoints=endpoints) as running:
        await statuses(running.port, get("/a", "X-User-Id: known"), get("/", *gold), get("/", *gold))
        for request in (
            get("/", "X-User-Id: known"),
            get("/a", "X-User-Id: unknown"),
            get("/b", "X-User-Id: nobody"),
            get("/x/y/z", "X-User-Id: known"),
            get("/", *gold),
            get("/a", method="DELETE"),
        ):
            async with Client.connect(running.port) as client:
                await client.send(request)
                refused.add((await client.answer()).raw_head + b"Too Many Requests\n")
    head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 18\r\n\r\n"
    assert refused == {head + b"Too Many Requests\n"}


async def test_a_refusal_of_head_has_no_body_and_the_connection_goes_on() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited()]) as running, Client.connect(running.port) as client:
        assert (await client.ask(get())).status == 200
        assert (await client.ask(get(method="HEAD"))).status == 429
        assert (await client.ask(get())).body == b"Too Many Requests\n"


async def test_a_refused_body_is_passed_over_and_the_connection_goes_on() -> None:
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with upstream() as up, proxy(up.port, limits=[limited()]) as running, Client.connect(running.port) as client:
        assert (await client.ask(get())).status == 200
        assert (await client.ask(post)).status == 429
        assert (await client.ask(post)).status == 429
    assert len(up.requests) == 1


async def test_all_buckets_are_charged_or_none() -> None:
    endpoints = [Endpoint("a", Template.parse("/a")), Endpoint("b", Template.parse("/b"))]
    limits = [limited("user", burst=2), limited("a-once", user=False, endpoint=True, endpoints=frozenset({"a"}))]
    ana, ben = "X-User-Id: ana", "X-User-Id: ben"
    async with upstream() as up, proxy(up.port, limits=limits, endpoints=endpoints) as running:
        # Ben's refusals at /a must not cost him what he has left for /b.
        asked = [get("/a", ana), get("/a", ben), get("/a", ben), get("/a", ben), get("/b", ben), get("/b", ben)]
        assert await statuses(running.port, *asked) == [200, 429, 429, 429, 200, 200]


async def test_a_shadow_limit_counts_and_never_blocks() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(enforce=False)]) as running:
        assert await statuses(running.port, *[get()] * 3) == [200, 200, 200]


async def test_the_exempt_are_not_counted() -> None:
    exempt = Exemption(frozenset({"root"}), (ip_network("198.51.100.0/24"),))
    elsewhere = limited("elsewhere", endpoints=frozenset({"a"}), exempt=exempt)
    async with upstream() as up, proxy(up.port, limits=[limited(exempt=exempt), elsewhere]) as running:
        assert await statuses(running.port, *[get("/", "X-User-Id: root")] * 3) == [200] * 3
        assert await statuses(running.port, *[get("/", "X-Forwarded-For: 198.51.100.9")] * 3) == [200] * 3
        assert await statuses(running.port, *[get("/", "X-Forwarded-For: 203.0.113.9")] * 2) == [200, 429]
    assert running.seen.bypasses == [["all"]] * 6


async def test_a_refusal_is_reported_with_the_source_of_the_caller_and_the_limits_that_refused() -> None:
    limits = limited("each"), limited("all", user=False, endpoint=True), limited("trial", enforce=False)
    async with upstream() as up, proxy(up.port, limits=limits) as running:
        user = get("/", "X-User-Id: ana")
        assert await statuses(running.port, user, user, get("/")) == [200, 429, 429]
    assert running.seen.refused_by == [("trusted_header", ["each", "all"]), ("client_address", ["all"])]


async def test_an_error_that_nobody_foresaw_is_a_500_and_told_once() -> None:
    error = RuntimeError("it quotes what the client sent")

    class Broken:
        kind: ClassVar[str] = "trusted_header"
        reads = "X-User-Id"
        attributes = ()

        def __call__(self, _: Sender) -> Claim | None:
            raise error

    async with upstream() as up, proxy(up.port, identity=make_identity([Broken()])) as running:
        async with Client.connect(running.port) as client:
            answer = await client.ask(get())
            assert (answer.status, answer.body) == (500, b"Internal Server Error\n")
            assert await client.closed() == b""
        assert running.seen.failures == [(500, error)]
        assert running.seen.ids[-1]
        assert running.seen.fates == []
    assert up.requests == []


async def test_a_request_has_one_name_upstream_and_here() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(burst=1)]) as running:
        assert await statuses(running.port, get(), get(), get("/", "X-Request-ID: of-the-client")) == [200, 429, 429]
    (request,) = up.requests
    assert running.seen.ids[0] == request.one(b"x-request-id").decode()
    assert len(set(running.seen.ids)) == 3


async def test_a_user_on_a_plan_gets_the_plans_limit() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(tiers={"gold": Quota(SLOW, 3)})]) as running:
        gold = get("/", "X-User-Id: g", "X-User-Tier: gold")
        assert await statuses(running.port, *[gold] * 4) == [200, 200, 200, 429]
        lead = get("/", "X-User-Id: l", "X-User-Tier: lead")
        assert await statuses(running.port, *[lead] * 2) == [200, 429]


async def test_a_request_may_cost_more_than_one_token() -> None:
    endpoints = [Endpoint("dear", Template.parse("/dear"), cost=2)]
    async with upstream() as up, proxy(up.port, limits=[limited(burst=5)], endpoints=endpoints) as running:
        assert await statuses(running.port, *[get("/dear")] * 3, get("/"), get("/")) == [200, 200, 429, 200, 429]


async def test_requests_at_once_never_get_more_than_the_burst() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(burst=7)]) as running:
        got = await asyncio.gather(*(ask(running.port, get()) for _ in range(50)))
    assert sorted(answer.status for answer in got).count(200) == 7


async def test_pipelined_requests_are_each_charged_and_answered_in_order() -> None:
    async with (
        upstream() as up,
        proxy(up.port, limits=[limited(burst=2)]) as running,
        Client.connect(running.port) as client,
    ):
        await client.send(get() * 4)
        assert [(await client.answer()).status for _ in range(4)] == [200, 200, 429, 429]
