"""A door: what other proxies ask, and what they are told."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.condition import HEADER, QUERY, Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Exemption, Limit, Over
from gateway.limits.override import Block
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.settings.answers import Answers
from gateway.settings.door import Doors, ExtAuthz, ForwardAuth
from gateway.settings.listener import Listener
from tests.proxy.running import Running, proxy
from tests.wire import Client, ask, get, upstream

HERE = (ip_network("127.0.0.0/8"),)
ANYWHERE = (Listener(port=0),)
A_DAY = 86_400
ORDERS = Endpoint("orders", Template.parse("/v1/orders/{id}"), frozenset({"POST"}), host="api.example")
OF_ORDERS = Limit("of-orders", ("user",), Quota(Rate(1, A_DAY), 2), endpoints=frozenset({"orders"}))
FORWARDED = ("X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host")
URI = ("X-Original-Method", "X-Original-URI", "Host")
URL = ("X-Original-Method", "X-Original-URL")


@asynccontextmanager
async def door(
    limits: Sequence[Limit] = (OF_ORDERS,), endpoints: Sequence[Endpoint] = (ORDERS,), **settings: object
) -> AsyncIterator[tuple[Running, int]]:
    """A gateway with a forward_auth door. Yields it, and the door's port."""
    made = ForwardAuth(**{"from_": HERE, "listen": ANYWHERE, **settings})  # type: ignore[arg-type]
    async with proxy(9, limits=limits, endpoints=endpoints, doors=Doors(made)) as running:
        yield running, running.doors["forward_auth"]


def asking(*headers: str, path: str = "/auth", method: str = "GET") -> bytes:
    named = any(line.lower().startswith("host:") for line in headers)
    lines = [f"{method} {path} HTTP/1.1", *["Host: gateway.internal"] * (not named), *headers, "", ""]
    return "\r\n".join(lines).encode()


def forwarded(path: str = "/v1/orders/7", *more: str, method: str = "POST", host: str = "api.example") -> bytes:
    lines = f"X-Forwarded-Method: {method}", f"X-Forwarded-Uri: {path}", f"X-Forwarded-Host: {host}"
    return asking(*lines, *more)


ALLOWED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Over-Limit: \r\n\r\n"


async def test_a_request_within_its_limit_gets_an_empty_200_and_one_over_it_the_usual_429() -> None:
    async with upstream() as up, proxy(up.port, limits=[OF_ORDERS], endpoints=[ORDERS]) as inline, door() as (_, port):
        post = get("/v1/orders/7", method="POST").replace(b"localhost", b"api.example")
        usual = [await ask(inline.port, post) for _ in range(3)][-1]
        answers = [await ask(port, forwarded()) for _ in range(3)]
        assert [answer.raw_head for answer in answers[:2]] == [ALLOWED, ALLOWED]
        assert (answers[2].raw_head, answers[2].body) == (usual.raw_head, usual.body)


@pytest.mark.parametrize(
    ("request_headers", "lines"),
    [
        (
            "x_forwarded",
            ["X-Forwarded-Method: POST", "X-Forwarded-Uri: /v1/orders/7?a=1", "X-Forwarded-Host: API.example"],
        ),
        ("x_original_uri", ["X-Original-Method: POST", "X-Original-URI: /v1/orders/7", "Host: api.example:443"]),
        ("x_original_url", ["X-Original-Method: POST", "X-Original-URL: https://api.example/v1/orders/7"]),
    ],
)
async def test_each_way_of_saying_which_request_it_is_about(request_headers: str, lines: list[str]) -> None:
    async with door(request_headers=request_headers) as (running, port):
        assert (await ask(port, asking(*lines))).status == 200
        for index in range(len(lines)):
            without, twice = [*lines[:index], *lines[index + 1 :]], [*lines, lines[index]]
            assert (await ask(port, asking(*twice))).status == 400
            if not lines[index].startswith("Host"):
                assert (await ask(port, asking(*without))).status == 400
                emptied = [*without, f"{lines[index].partition(':')[0]}:"]
                assert (await ask(port, asking(*emptied))).status == 400
        assert [fate[0] for fate in running.seen.fates if fate[2] == 200] == ["orders"]
        assert set(running.seen.reasons) <= {"not_described", "unreadable", "host"}


async def test_what_a_client_sends_of_another_way_does_not_count() -> None:
    """It passes headers through its proxy, and chooses all but those that the proxy sets."""
    claims = [f"{name}: {value}" for name, value in zip(URI[:2], ("GET", "/"), strict=True)]
    async with door() as (running, port):
        await ask(port, forwarded("/v1/orders/7", *claims, "X-Original-URL: http://x/", "X-Rewrite-URL: /"))
        assert running.seen.fates == [("orders", running.seen.fates[0][1], 200)]


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("//v1///orders/7/", "orders"),
        ("/V1/Orders/7;v=1", "orders"),
        ("/v1/orders%2e/7", "orders"),
        ("/v1/%6frders/7", "orders"),
        ("/v1/orders/7?x=/../", "orders"),
        ("/v1/orders/%2e%2e/7", 400),
        ("/x/../v1/orders/7", 400),
        ("/v1/orders%2f7", 400),
        ("/v1/orders/7#x", 400),
        ("/v1/orders%252f7", 400),
        ("http://api.example/v1/orders/7", 400),
        ("*", 400),
        ("v1/orders/7", 400),
        ("/v1/orders/7 HTTP/1.1", 400),
        ("/v1/orders/\xe97", 400),
    ],
)
async def test_the_path_is_read_as_that_of_a_forwarded_request(path: str, endpoint: object) -> None:
    async with door() as (running, port):
        answer = await ask(port, forwarded(path))
        assert (running.seen.fates[0][0] if answer.status == 200 else answer.status) == endpoint


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("QUERY", 200), ("CONNECT", 405), ("TRACE", 405), ("post", 405), ("FOO", 405)]
)
async def test_a_method_that_the_gateway_never_forwards_is_not_permitted(method: str, status: int) -> None:
    async with door() as (_, port):
        assert (await ask(port, forwarded(method=method))).status == status


@pytest.mark.parametrize("host", ["api.example, other.example", "api.example/x", "a b", "[::1", "api.example:99999"])
async def test_a_host_that_is_not_one_is_not_permitted(host: str) -> None:
    async with door() as (_, port):
        assert (await ask(port, forwarded(host=host))).status == 400


async def test_callers_are_told_apart_by_the_address_that_the_proxy_wrote_last() -> None:
    async with door() as (_, port):
        first = [await ask(port, forwarded("/v1/orders/7", f"X-Forwarded-For: 9.9.9.{n}, 192.0.2.1")) for n in range(3)]
        assert [answer.status for answer in first] == [200, 200, 429]
        assert (await ask(port, forwarded("/v1/orders/7", "X-Forwarded-For: 192.0.2.2"))).status == 200


async def test_only_the_last_entry_of_x_forwarded_for_is_that_of_the_proxy_though_from_has_the_client_too() -> None:
    """A client within the networks of `from` is none of the proxies for that."""
    limits = Limit("each", ("user",), Quota(Rate(1, A_DAY), 1))
    async with door([limits], from_=(ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))) as (_, port):
        spoofed = [forwarded("/", f"X-Forwarded-For: 192.0.2.{n}, 10.1.1.1") for n in range(2)]
        assert [(await ask(port, each)).status for each in spoofed] == [200, 429]


async def test_a_user_and_a_tier_that_the_proxy_names_are_told_to_the_upstream_and_empty_ones_too() -> None:
    told = {"X-Caller": "caller", "X-Tier": "tier", "X-Source": "source", "X-Endpoint": "endpoint"}
    gold = Limit("of-orders", ("user",), Quota(Rate(1, A_DAY), 2), tiers={"gold": Quota(Rate(1, A_DAY), 3)})
    async with door([gold], response_headers=told) as (_, port):
        named = await ask(port, forwarded("/v1/orders/7", "X-User-Id: ana", "X-User-Tier: gold", "X-Tier: platinum"))
        assert [named.one(name.encode()) for name in ("X-Tier", "X-Source", "X-Endpoint")] == [
            b"gold",
            b"trusted_header",
            b"orders",
        ]
        assert len(named.one(b"X-Caller")) == 32
        unknown = await ask(port, forwarded("/", "X-User-Id: ana", "X-User-Tier: platinum"))
        assert (unknown.one(b"X-Tier"), unknown.one(b"X-Endpoint")) == (b"", b"default")
        assert unknown.one(b"X-Caller") == named.one(b"X-Caller")


async def test_a_limit_that_tells_permits_and_names_itself() -> None:
    soft = Limit("soft", ("user",), Quota(Rate(1, A_DAY), 1), over=Over.TELL)
    async with door([soft]) as (_, port):
        answers = [await ask(port, forwarded("/")) for _ in range(2)]
        assert [(answer.status, answer.one(b"X-Over-Limit")) for answer in answers] == [(200, b""), (200, b"soft")]


@pytest.mark.parametrize("status", [401, 403])
async def test_whatever_is_not_permitted_has_the_status_that_the_proxy_understands(status: int) -> None:
    async with door(refuse_with=status) as (running, port):
        usual = [await ask(port, forwarded()) for _ in range(3)][-1]
        assert (usual.status, usual.one(b"X-Gateway-Status"), usual.body) == (status, b"429", b"Too Many Requests\n")
        for data, own in (
            (forwarded("/a/../b"), b"400"),
            (forwarded(method="TRACE"), b"405"),
            (asking(), b"400"),
            (forwarded("/" + "a" * 9000), b"431"),
            (asking("X-Forwarded-For"), b"400"),
            (asking(path="/" + "a" * 9000), b"414"),
            (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
        ):
            answer = await ask(port, data)
            assert (answer.status, answer.one(b"X-Gateway-Status")) == (status, own)
        assert {fate[2] for fate in running.seen.fates} == {200, status}


async def test_the_reason_phrase_and_the_rest_of_a_refusal_stay() -> None:
    answers = Answers('{"error": "slow down"}', "application/json", (3, 3))
    made = Doors(ForwardAuth(HERE, ANYWHERE, refuse_with=403))
    none = Limit("of-orders", ("user",), Quota(Rate(1, A_DAY), 1))
    async with proxy(9, limits=[none], doors=made, answers=answers) as running:
        refused = [await ask(running.doors["forward_auth"], forwarded()) for _ in range(2)][1]
        assert refused.start == b"HTTP/1.1 403 Forbidden"
        assert (refused.one(b"Retry-After"), refused.body) == (b"3", b'{"error": "slow down"}')


async def test_conditions_read_what_the_proxy_passes_on() -> None:
    by_query = Endpoint(
        "exports", query=(Condition(QUERY, "format", frozenset({"csv"})),), template=Template.parse("/x")
    )
    by_header = Endpoint(
        "mcp", headers=(Condition(HEADER, "Mcp-Method", frozenset({"call"})),), template=Template.parse("/m")
    )
    async with door(endpoints=[by_query, by_header]) as (running, port):
        for data in (
            forwarded("/x?format=csv", method="GET"),
            forwarded("/x", method="GET"),
            forwarded("/m", "Mcp-Method: call"),
        ):
            assert (await ask(port, data)).status == 200
        assert (await ask(port, forwarded("/x?format=csv&format=json", method="GET"))).status == 400
        assert [fate[0] for fate in running.seen.fates] == ["exports", "default", "mcp", ""]


async def test_a_body_that_is_announced_and_does_not_come_takes_nobodys_request() -> None:
    """nginx copies the Content-Length of its client to the sub-request, unless it is told not to."""
    async with door() as (running, port), Client.connect(port) as client:
        answer = await client.ask(forwarded("/v1/orders/7", "Content-Length: 50"))
        assert (answer.status, answer.one(b"Connection")) == (200, b"close")
        await client.send(forwarded("/v1/orders/8"))
        assert await client.closed() == b""
        assert len(running.seen.fates) == 1


async def test_a_larger_body_than_allowed_is_for_the_proxy_to_refuse() -> None:
    small = Endpoint("small", Template.parse("/small"), max_body=10)
    async with door(endpoints=[small]) as (_, port):
        assert (await ask(port, forwarded("/small", "Content-Length: 50"))).status == 200


async def test_requests_on_a_connection_are_answered_one_after_the_other() -> None:
    async with door() as (_, port), Client.connect(port) as client:
        statuses = [(await client.ask(forwarded())).status for _ in range(3)]
        assert statuses == [200, 200, 429]


async def test_a_peer_outside_from_gets_a_403_and_nothing_is_charged() -> None:
    async with door(from_=(ip_network("192.0.2.0/24"),)) as (running, port):
        assert (await ask(port, forwarded())).status == 403
        assert (running.seen.causes, running.seen.demands) == (["stranger"], [])


async def test_envoy_asks_with_a_request_like_the_clients_whose_body_does_not_come() -> None:
    made = Doors(None, ExtAuthz(HERE, ANYWHERE, response_headers={"X-Caller": "caller"}))
    async with proxy(9, limits=[OF_ORDERS], endpoints=[ORDERS], doors=made) as running:
        port = running.doors["ext_authz"]
        data = asking("Host: api.example", "Content-Length: 0", path="/v1/orders/7?a", method="POST")
        assert [(await ask(port, data)).status for _ in range(3)] == [200, 200, 429]
        assert {fate[0] for fate in running.seen.fates} == {"orders"}
        ignored = asking("X-Forwarded-Method: GET", "X-Forwarded-Uri: /", path="/v1/orders/7", method="POST")
        assert (await ask(port, ignored)).status == 200
        assert running.seen.fates[-1][0] == "default"  # of another host


async def test_blocked_and_exempt_callers_are_that_at_a_door_too() -> None:
    each = Limit("each", ("user",), Quota(Rate(1, A_DAY), 1), exempt=Exemption(frozenset({"ana"})))
    async with door([each]) as (running, port):
        running.book.current = Rules([ORDERS], [each], block=Block(frozenset({"eve"}), (ip_network("192.0.2.0/24"),)))
        for user, address, statuses in (
            ("ana", "198.51.100.1", [200, 200]),
            ("bob", "198.51.100.1", [200, 429]),
            ("eve", "198.51.100.1", [429, 429]),
            ("ana", "192.0.2.7", [429, 429]),
        ):
            asked = forwarded("/", f"X-User-Id: {user}", f"X-Forwarded-For: {address}")
            assert [(await ask(port, asked)).status for _ in range(2)] == statuses
        assert running.seen.bypasses == [["each"]] * 4


@settings(max_examples=30)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30))
async def test_any_target_is_read_at_a_door_as_it_is_read_from_a_client(rest: str) -> None:
    made = Doors(ForwardAuth(HERE, ANYWHERE), ExtAuthz(HERE, ANYWHERE))
    async with proxy(9, endpoints=[ORDERS], doors=made) as running:
        sent = asking("Host: api.example", path=f"/{rest}", method="POST")
        statuses = [
            (await ask(running.port, sent)).status,
            (await ask(running.doors["ext_authz"], sent)).status,
            (await ask(running.doors["forward_auth"], forwarded(f"/{rest}"))).status,
        ]
        assert [status in {200, 502} for status in statuses] in ([True] * 3, [False] * 3)
        assert len({fate[0] for fate in running.seen.fates}) <= 1


async def test_one_budget_for_requests_that_are_forwarded_and_those_that_are_asked_about() -> None:
    made = Doors(ForwardAuth(HERE, ANYWHERE), ExtAuthz(HERE, ANYWHERE))
    each = Limit("each", ("user",), Quota(Rate(1, A_DAY), 3))
    async with upstream() as up, proxy(up.port, limits=[each], doors=made) as running:
        client = "X-Forwarded-For: 192.0.2.1"
        statuses = [
            (await ask(running.port, get("/", client))).status,
            (await ask(running.doors["forward_auth"], forwarded("/", client))).status,
            (await ask(running.doors["ext_authz"], get("/", client))).status,
            (await ask(running.port, get("/", client))).status,
        ]
        assert statuses == [200, 200, 200, 429]
        assert len(up.requests) == 1
