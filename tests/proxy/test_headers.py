"""What of a head goes on to the next hop, seen on the wire."""

from ipaddress import ip_network

import pytest

from gateway.limits.identity import Identity
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.wire import Message, ask, get, says, upstream

STRANGERS = make_identity(trusted_proxies=())
"""No proxy stands in front of us."""


async def seen(*fields: str, identity: Identity | None = None, path: str = "/") -> Message:
    """A request as the upstream sees it."""
    async with upstream() as up, proxy(up.port, identity=identity) as running:
        assert (await ask(running.port, get(path, *fields))).status == 200
    return up.requests[0]


async def test_end_to_end_fields_pass_in_order_case_and_number() -> None:
    sent = ["X-B: 2", "x-a: 1", "Cookie: a=b", "Cookie: c=d", "Authorization: Basic eA==", "traceparent: 00-ab-cd-01"]
    request = await seen(*sent)
    passed = [b"%b: %b" % pair for pair in request.fields]
    assert [line for line in passed if line.decode() in sent] == [line.encode() for line in sent]


@pytest.mark.parametrize(
    "field",
    [
        "Connection: close",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X",
        "Upgrade: h2c",
    ],
)
async def test_hop_by_hop_fields_of_a_request_end_here(field: str) -> None:
    request = await seen(field)
    assert request.all(field.partition(":")[0].encode()) == []


async def test_what_connection_names_ends_here() -> None:
    request = await seen("Connection: keep-alive, X-Foo", "Connection: x-bar", "X-Foo: 1", "X-Bar: 2", "X-Baz: 3")
    assert (request.all(b"x-foo"), request.all(b"x-bar"), request.one(b"x-baz")) == ([], [], b"3")


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "X-User-Id", "X-Forwarded-For", "X-Request-ID", "Host", "traceparent"]
)
async def test_connection_cannot_take_away_what_others_rely_on(name: str) -> None:
    given = [] if name == "Host" else [f"{name}: 198.51.100.7"]
    request = await seen(f"Connection: {name}", *given)
    assert request.all(name.encode()) != []


async def test_a_name_that_is_dropped_for_its_underscore_is_reported_once() -> None:
    async with upstream() as up, proxy(up.port) as running:
        for _ in range(3):
            assert (await ask(running.port, get("/", "X_Api_Version: 2", "X-Api-Version: 2"))).status == 200
        assert running.seen.dropped == ["X_Api_Version"]


async def test_names_with_an_underscore_are_dropped() -> None:
    request = await seen("X_User_Id: mallory", "X_Forwarded_For: 203.0.113.1")
    assert not any(b"_" in name for name, _ in request.fields)


async def test_where_a_request_came_from_is_said_upstream() -> None:
    request = await seen(identity=STRANGERS)
    assert request.one(b"x-forwarded-for") == b"127.0.0.1"
    assert request.one(b"x-forwarded-proto") == b"http"
    assert request.one(b"x-forwarded-host") == b"localhost"
    assert len(request.one(b"x-request-id")) > 16


async def test_what_a_stranger_says_of_where_it_came_from_is_replaced() -> None:
    lies = [
        "X-Forwarded-For: 203.0.113.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: bank.test",
        "X-Request-ID: forged",
        "Forwarded: for=203.0.113.1",
        "X-Real-IP: 203.0.113.1",
        "X-User-Id: alice",
        "X-User-Tier: gold",
    ]
    request = await seen(*lies, identity=STRANGERS)
    assert request.one(b"x-forwarded-for") == b"127.0.0.1"
    assert request.one(b"x-forwarded-proto") == b"http"
    assert request.one(b"x-forwarded-host") == b"localhost"
    assert request.one(b"x-request-id") != b"forged"
    for name in (b"forwarded", b"x-real-ip", b"x-user-id", b"x-user-tier"):
        assert request.all(name) == []


async def test_what_a_trusted_proxy_says_is_kept_and_added_to() -> None:
    trusting = make_identity(trusted_proxies=(ip_network("127.0.0.0/8"),))
    request = await seen(
        "X-Forwarded-For: 198.51.100.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
        "X-Request-ID: abc-123",
        "X-User-Id: alice",
        identity=trusting,
    )
    assert request.one(b"x-forwarded-for") == b"198.51.100.7, 127.0.0.1"
    assert request.one(b"x-forwarded-proto") == b"https"
    assert request.one(b"x-forwarded-host") == b"shop.test"
    assert request.one(b"x-request-id") == b"abc-123"
    assert request.one(b"x-user-id") == b"alice"


async def test_a_request_id_that_is_none_is_replaced() -> None:
    request = await seen("X-Request-ID: a b; <script>")
    assert request.one(b"x-request-id") != b"a b; <script>"


async def test_every_request_gets_an_id_of_its_own() -> None:
    async with upstream() as up, proxy(up.port) as running:
        for _ in range(3):
            await ask(running.port, get())
    assert len({request.one(b"x-request-id") for request in up.requests}) == 3


RATE_LIMITED = (
    b"HTTP/1.1 %b\r\nRateLimit: x\r\nRateLimit-Policy: x\r\nX-RateLimit-Limit: 5\r\nx-ratelimit-remaining: 4\r\n"
    b"X-Rate-Limit-Reset: 3\r\nRetry-After: 9\r\nX-Mine: 1\r\nContent-Length: 0\r\n\r\n"
)


async def test_an_upstreams_own_rate_limit_fields_are_removed() -> None:
    async with upstream(says(RATE_LIMITED % b"429 Too Many Requests")) as up, proxy(up.port) as running:
        answer = await ask(running.port, get())
    assert answer.fields == [(b"X-Mine", b"1"), (b"Content-Length", b"0")]


async def test_retry_after_of_a_response_that_is_no_429_says_nothing_of_limits_and_stays() -> None:
    async with upstream(says(RATE_LIMITED % b"503 Maintenance")) as up, proxy(up.port) as running:
        answer = await ask(running.port, get())
    assert answer.fields == [(b"Retry-After", b"9"), (b"X-Mine", b"1"), (b"Content-Length", b"0")]


async def test_a_setting_keeps_an_upstreams_own_rate_limit_fields() -> None:
    raw = RATE_LIMITED % b"200 OK"
    async with upstream(says(raw)) as up, proxy(up.port, keep_rate_limits=True) as running:
        answer = await ask(running.port, get())
    assert answer.raw_head == raw


async def test_hop_by_hop_fields_of_a_response_end_here() -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Foo\r\nX-Foo: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Upgrade: h2c\r\nTrailer: X\r\nX-Mine: 1\r\nContent-Length: 0\r\n\r\n"
    )
    async with upstream(says(raw)) as up, proxy(up.port) as running:
        answer = await ask(running.port, get())
    assert answer.fields == [(b"X-Mine", b"1"), (b"Content-Length", b"0")]
