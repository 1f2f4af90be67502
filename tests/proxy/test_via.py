"""Requests say that they passed the gateway, and one that comes back is not forwarded (RFC 9110 section 7.6.3)."""

from ipaddress import ip_network

import pytest

from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.via import Via, pseudonym
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.wire import OK, ask, get, says, upstream


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        ([], b"1.1 edge"),
        (["Via: 1.0 fred, 1.1 p.example.net"], b"1.0 fred, 1.1 p.example.net, 1.1 edge"),
        (["via: 1.0 fred", "VIA: HTTP/1.1 cdn:8080 (a, b (c))"], b"1.0 fred, HTTP/1.1 cdn:8080 (a, b (c)), 1.1 edge"),
        (["Via: 1.0 fred", "Connection: via"], b"1.0 fred, 1.1 edge"),
        (["Via: 1.1 edge-2, 1.1 edge.example"], b"1.1 edge-2, 1.1 edge.example, 1.1 edge"),
        (["Via: 1.1 not (x, 1.1 edge)"], b"1.1 not (x, 1.1 edge), 1.1 edge"),
        (["Via: "], b"1.1 edge"),
        (["Via: edge"], b"edge, 1.1 edge"),
        (["Via: 1.1 caf\xe9"], b"1.1 caf\xc3\xa9, 1.1 edge"),
    ],
)
async def test_the_name_comes_after_those_of_the_recipients_before(sent: list[str], forwarded: bytes) -> None:
    async with upstream() as up, proxy(up.port, via="edge") as running:
        assert (await ask(running.port, get("/", *sent))).status == 200
        assert up.requests[0].one(b"via") == forwarded


async def test_it_says_which_version_the_request_came_in() -> None:
    async with upstream() as up, proxy(up.port, via="edge") as running:
        assert (await ask(running.port, b"GET / HTTP/1.0\r\nHost: gw.test\r\n\r\n")).status == 200
        assert up.requests[0].one(b"via") == b"1.0 edge"


@pytest.mark.parametrize(
    "via",
    ["1.1 edge", "1.0 fred, 1.1 EDGE", "HTTP/1.1 edge (x, y), 1.1 fred", "1.1 (strange) edge", "1.1\tedge\t, 2 x"],
)
async def test_a_request_that_has_passed_the_gateway_is_a_508_and_costs_no_token(via: str) -> None:
    endpoint = Endpoint("all", Template.parse("/{rest...}"))
    limits = [Limit("once", per=("user",), quota=Quota(Rate(1, 86_400), 1))]
    async with upstream() as up, proxy(up.port, via="edge", endpoints=[endpoint], limits=limits) as running:
        answer = await ask(running.port, get("/", f"Via: {via}"))
        assert (answer.status, answer.body) == (508, b"Loop Detected\n")
        assert answer.all(b"via") == []
        assert running.seen.loops == [via]
        assert running.seen.verdicts == []
        assert (await ask(running.port, get())).status == 200
        assert len(up.requests) == 1


async def test_without_a_name_via_passes_as_it_is_and_nothing_is_a_loop() -> None:
    async with upstream() as up, proxy(up.port) as running:
        assert (await ask(running.port, get("/", "Via: 1.1 edge"))).status == 200
        assert up.requests[0].one(b"via") == b"1.1 edge"


async def test_a_response_keeps_the_via_of_the_upstream_and_gets_none_of_ours() -> None:
    own = OK.replace(b"\r\n", b"\r\nVia: 1.1 inner\r\n", 1)
    for raw, seen in ((own, [b"1.1 inner"]), (OK, [])):
        async with upstream(says(raw)) as up, proxy(up.port, via="edge") as running:
            assert (await ask(running.port, get())).all(b"via") == seen


async def test_two_gateways_in_a_row_are_no_loop_and_a_ring_of_two_is_one() -> None:
    trusting = make_identity(trusted_proxies=(ip_network("127.0.0.0/8"),))
    async with upstream() as up, proxy(up.port, via="inner", identity=trusting) as inner:
        async with proxy(inner.port, via="outer") as outer:
            assert (await ask(outer.port, get())).status == 200
            assert up.requests[0].one(b"via") == b"1.1 outer, 1.1 inner"
        async with proxy(inner.port, via="inner") as ring:
            assert (await ask(ring.port, get())).status == 508
            assert (len(ring.seen.loops), len(inner.seen.loops)) == (0, 1)


def test_a_pseudonym_is_the_same_for_the_same_gateway_only() -> None:
    assert pseudonym("host", 8080, ["http://a"]) == pseudonym("host", 8080, ["http://a"])
    names = {pseudonym(*parts) for parts in (("host", 8080, ["a"]), ("host", 8081, ["a"]), ("host", 8080, ["b"]))}
    assert len(names) == 3
    assert not Via(names.pop()).is_in([f"1.1 {names.pop()}"])
