"""Conditions on endpoints, seen from outside: which limit counts a request, and which request is not served."""

import asyncio
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.condition import headers as read_headers
from gateway.config.diagnostic import InvalidError
from gateway.limits.condition import HEADER, QUERY, Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.headers import RequestHeaders
from tests.config.reading import read
from tests.fuzzing import examples
from tests.kit.identity import make_identity
from tests.proxy.running import Running, proxy
from tests.wire import Client, ask, get, upstream

TOOLS = Condition(HEADER, "Mcp-Method", frozenset({"tools/call"}))
EXPORTS = Condition(QUERY, "format", frozenset({"csv", "xlsx"}))
ENDPOINTS = [
    Endpoint("mcp", Template.parse("/mcp")),
    Endpoint("tools", Template.parse("/mcp"), headers=(TOOLS,)),
    Endpoint("report", Template.parse("/reports/{id}"), frozenset({"GET"})),
    Endpoint("export", Template.parse("/reports/{id}"), frozenset({"GET"}), query=(EXPORTS,)),
    Endpoint("user", Template.parse("/user"), headers=(Condition(HEADER, "X-User-Tier", frozenset({"gold"})),)),
]
LIMITS = [
    Limit("tools-each", ("user",), Quota(Rate(1, 86_400), 1), frozenset({"tools"})),
    Limit("exports-each", ("user",), Quota(Rate(1, 86_400), 1), frozenset({"export"})),
]

HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "A_B")
REWRITTEN = (
    "Content-Length", "Host", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Gateway-Bypass",
    "X-Request-ID",
)  # fmt: skip


async def endpoint_of(running: Running, request: bytes) -> str:
    await ask(running.port, request)
    return running.seen.fates[-1][0]


async def test_a_tool_call_and_an_export_have_limits_that_other_requests_to_the_path_have_not() -> None:
    call, rest = get("/mcp", "mcp-method:  tools/call ", method="POST"), get("/mcp", method="POST")
    export, report = get("/reports/7?a=b&format=x%6Csx"), get("/reports/7?format=json")
    async with upstream() as up, proxy(up.port, endpoints=ENDPOINTS, limits=LIMITS) as running:
        for limited, free in ((call, rest), (export, report)):
            statuses = [(await ask(running.port, request)).status for request in (limited, limited, free, free)]
            assert statuses == [200, 429, 200, 200]
        assert (await ask(running.port, get("/reports/8?format=csv", method="HEAD"))).status == 429
        forwarded = [message.start for message in up.requests]
    assert b"GET /reports/7?a=b&format=x%6Csx HTTP/1.1" in forwarded
    assert up.requests[0].one(b"mcp-method") == b"tools/call"


@pytest.mark.parametrize(
    "request_",
    [
        get("/mcp", "Mcp-Method: ping", "Mcp-Method: tools/call", method="POST"),
        get("/mcp", "Mcp-Method: ping", "mcp-method: ping", method="POST"),
        get("/reports/7?format=json&format=csv"),
        get("/reports/7?format[]=csv"),
        get("/reports/7?format=%zz"),
        b"GET http://x.test/reports/7?format&format HTTP/1.1\r\nHost: x.test\r\n\r\n",
    ],
)
async def test_what_a_condition_cannot_read_in_one_way_is_rejected_with_its_reason(request_: bytes) -> None:
    async with upstream() as up, proxy(up.port, endpoints=ENDPOINTS) as running:
        async with Client.connect(running.port) as client:
            assert (await client.ask(request_)).status == 400
            assert await client.closed() == b""
        assert running.seen.reasons == ["condition"]
    assert up.requests == []


@pytest.mark.parametrize(
    "request_",
    [
        get("/other?format=csv&format=json", "Mcp-Method: a", "Mcp-Method: b"),
        get("/mcp?format=csv&format=json", "X-Other: a", "X-Other: b"),
        get("/reports/7?a=1&a=2", "Mcp-Method: a", "Mcp-Method: b"),
        get("/reports/7?format=csv&format=json", method="POST"),
    ],
)
async def test_what_no_condition_reads_may_come_twice(request_: bytes) -> None:
    async with upstream() as up, proxy(up.port, endpoints=ENDPOINTS) as running:
        assert (await ask(running.port, request_)).status == 200


async def test_a_condition_reads_what_goes_upstream() -> None:
    """A header that is removed on the way is as good as absent, whoever has it removed."""
    async with upstream() as up, proxy(up.port, endpoints=ENDPOINTS) as running:
        assert await endpoint_of(running, get("/mcp", "Mcp-Method: tools/call")) == "tools"
        assert await endpoint_of(running, get("/mcp", "Mcp-Method: tools/call", "Connection: mcp-method")) == "mcp"
        assert await endpoint_of(running, get("/mcp", "Mcp_Method: tools/call")) == "mcp"
        for message, is_there in zip(up.requests, (True, False, False), strict=True):
            assert (b"mcp-method:" in message.raw_head.lower()) is is_there
    for proxies, name in (("127.0.0.0/8", "user"), ("10.0.0.0/8", "default")):
        identity = make_identity(trusted_proxies=(ip_network(proxies),))
        async with upstream() as up, proxy(up.port, endpoints=ENDPOINTS, identity=identity) as running:
            assert await endpoint_of(running, get("/user", "X-User-Tier: gold")) == name


@pytest.mark.parametrize(
    "name",
    [*HOP_BY_HOP, *REWRITTEN],
)
def test_a_condition_on_what_never_goes_upstream_is_refused(name: str) -> None:
    assert not RequestHeaders(()).forwards(name.lower().encode(), [], trusted=True)
    with pytest.raises(InvalidError):
        read(read_headers, f"{{{name}: a}}")


SPELLINGS = st.text("format=&;%[]csvx+.0256F A", max_size=14)


@examples(30)
@given(st.lists(SPELLINGS, max_size=8), st.lists(st.sampled_from(["tools/call", "ping", "", " ", "x, y"]), max_size=3))
def test_any_query_and_headers_are_served_by_one_endpoint_or_rejected(queries: list[str], methods: list[str]) -> None:
    asyncio.run(_serve(queries, methods))


async def _serve(queries: list[str], methods: list[str]) -> None:
    fields = [f"Mcp-Method: {method}" for method in methods]
    async with upstream() as up, proxy(up.port, endpoints=ENDPOINTS) as running:
        for query in queries:
            path = f"/reports/7?{query.replace(' ', '')}"
            message = await ask(running.port, get(path, *fields))
            assert (message.status, running.seen.fates[-1][0]) in [(200, "report"), (200, "export"), (400, "")]
        message = await ask(running.port, get("/mcp", *fields))
        expected = (400, "") if len(methods) > 1 else (200, "tools" if methods == ["tools/call"] else "mcp")
        assert (message.status, running.seen.fates[-1][0]) == expected
