"""Requests as spans: what a real collector gets from a real gateway, and what an upstream is told of it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.collector import Collector, Seen, collector
from tests.kit.process import Process, gateway
from tests.redis_server import redis_server
from tests.waiting import at_most
from tests.wire import OK, Client, Upstream, ask, get, says, upstream

RULES = """
endpoints:
  - {name: orders, path: '/v1/orders/{user}'}
limits:
  - {name: each, per: user, endpoints: [orders], rate: 1/day, burst: 2}
  - {name: watched, per: user, endpoints: [orders], rate: 1/day, burst: 1, enforce: false}
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01", f"traceparent: 00-{TRACE}-{PARENT}-00"
PROXY = "identity: {trusted_proxies: [127.0.0.0/8]}\n"


@asynccontextmanager
async def traced(
    folder: Path, served: Upstream, to: Collector, *arguments: str, sample: str = "1", more: str = "", keys: str = ""
) -> AsyncIterator[tuple[Process, int]]:
    """A gateway with tracing. Yields its process and its public port."""
    (folder / "rules.yaml").write_text(RULES)
    (folder / "gateway.yaml").write_text(
        f"upstreams: {{default: {{urls: ['http://127.0.0.1:{served.port}']}}}}\nrules: rules.yaml\n"
        f"tracing: {{endpoint: '{to.url}', sample: {sample}{keys}}}\n{more}"
    )
    async with gateway("--config", folder / "gateway.yaml", *arguments, TEST_KEY="Bearer hunter2hunter2") as (
        process,
        port,
        _,
    ):
        await process.says("worker_serving")
        yield process, port


async def stopped(process: Process) -> None:
    """Stop a gateway."""
    process.signal(signal.SIGTERM)
    assert await process.ends() == 0, process.output


def by_kind(spans: Sequence[Seen]) -> tuple[Seen, Seen]:
    """The server span and the client span of one forwarded request."""
    (server,) = [seen for seen in spans if seen.span.kind == Span.SPAN_KIND_SERVER]
    (client,) = [seen for seen in spans if seen.span.kind == Span.SPAN_KIND_CLIENT]
    return server, client


async def test_a_forwarded_request_is_a_server_span_and_a_client_span_that_the_upstream_is_told_of(
    tmp_path: Path,
) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (process, port):
        await ask(port, get("/v1/orders/alice?token=t0ken", "X-User-Id: alice", "User-Agent: agent-x"))
        server, client = by_kind(await to.has(2))
        assert up.requests[0].one(b"traceparent").decode().rpartition("-")[0] == f"00-{client.trace_id}-{client.id}"
        assert not up.requests[0].all(b"tracestate")
        assert (server.trace_id, server.parent, client.parent) == (client.trace_id, "", server.id)
        assert (server.span.name, client.span.name) == ("GET orders", "GET")
        assert server.attributes == {
            "http.request.method": "GET",
            "url.scheme": "http",
            "http.route": "orders",
            "http.response.status_code": 200,
            "gateway.outcome": "allowed",
        }
        assert client.attributes == {
            "http.request.method": "GET",
            "gateway.upstream": "default",
            "server.address": "127.0.0.1",
            "server.port": up.port,
            "http.response.status_code": 200,
        }
        assert server.span.status.code == client.span.status.code == Status.STATUS_CODE_UNSET
        assert server.span.start_time_unix_nano <= client.span.start_time_unix_nano
        assert client.span.end_time_unix_nano <= server.span.end_time_unix_nano
        assert server.resource["service.name"] == "gateway"
        assert server.resource["service.instance.id"]
        sent = b"".join(message.body for message in to.requests)
        for private in (b"alice", b"t0ken", b"/v1/orders", b"agent-x"):
            assert private not in sent
        async with at_most(5):
            await stopped(process)


async def test_a_refused_request_has_a_span_with_the_limits_that_refuse_it_and_is_no_error(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (_, port):
        for status in (200, 200, 429):
            assert (await ask(port, get("/v1/orders/1"))).status == status
        spans = await to.has(5)
        (refused,) = [seen for seen in spans if seen.attributes.get("gateway.outcome") == "refused"]
        assert refused.attributes["gateway.limits"] == ["each"]
        assert refused.attributes["gateway.source"] == "client_address"
        assert refused.attributes["http.response.status_code"] == 429
        assert refused.span.status.code == Status.STATUS_CODE_UNSET
        assert not [seen for seen in spans if seen.parent == refused.id]


async def test_an_upstream_that_is_away_is_an_error_in_both_spans(tmp_path: Path, reserve: Callable[[], int]) -> None:
    async with collector() as to, traced(tmp_path, Upstream(reserve()), to) as (_, port):
        assert (await ask(port, get("/x"))).status == 502
        server, client = by_kind(await to.has(2))
    assert server.span.status.code == client.span.status.code == Status.STATUS_CODE_ERROR
    assert server.attributes["http.response.status_code"] == 502
    assert (server.attributes["error.type"], server.attributes["gateway.outcome"]) == ("502", "upstream_error")
    assert client.attributes["error.type"] == "upstream_error"
    assert "http.response.status_code" not in client.attributes


@pytest.mark.parametrize(("status", "server_code"), [(404, Status.STATUS_CODE_UNSET), (503, Status.STATUS_CODE_ERROR)])
async def test_a_response_of_4xx_is_an_error_of_the_client_span_only_and_5xx_of_both(
    status: int, server_code: int, tmp_path: Path
) -> None:
    answer = OK.replace(b"200 OK", b"%d Why" % status)
    async with upstream(says(answer)) as up, collector() as to, traced(tmp_path, up, to) as (_, port):
        assert (await ask(port, get("/x"))).status == status
        server, client = by_kind(await to.has(2))
        assert (server.span.status.code, client.span.status.code) == (server_code, Status.STATUS_CODE_ERROR)
        assert (
            server.attributes["http.response.status_code"] == client.attributes["http.response.status_code"] == status
        )
        assert server.attributes["gateway.outcome"] == "allowed"


async def test_a_request_that_cannot_be_read_has_a_span_without_a_route(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (_, port):
        assert (await ask(port, get("/a/%2e%2e/%00"))).status == 400
        (server,) = await to.has(1)
        assert server.span.name == "GET"
        assert "http.route" not in server.attributes
        assert server.attributes["gateway.outcome"] == "bad_request"


async def test_a_trusted_proxys_trace_goes_on_as_it_has_decided_whatever_our_share_is(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to, sample="0", more=PROXY) as (_, port):
        await ask(port, get("/a", UNSAMPLED, "tracestate: vendor=1"))
        await ask(port, get("/b"))
        await ask(port, get("/c", SAMPLED, "tracestate: vendor=1,other=2"))
        server, client = by_kind(await to.has(2))
        assert (server.trace_id, server.parent, list(server.span.links)) == (TRACE, PARENT, [])
        told = [message.one(b"traceparent").decode().split("-") for message in up.requests]
        assert told[0][1] == TRACE
        assert told[0][2] != PARENT
        assert told[1][1] not in {TRACE, "0" * 32}
        assert told[2][1:3] == [TRACE, client.id]
        assert [int(flags, 16) & 1 for *_, flags in told] == [0, 0, 1]
        states = [message.all(b"tracestate") for message in up.requests]
        assert states == [[b"vendor=1"], [], [b"vendor=1,other=2"]]


async def test_a_strangers_trace_ends_here_and_ours_is_linked_to_it(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (_, port):
        await ask(port, get("/", UNSAMPLED, "tracestate: vendor=1"))
        server, client = by_kind(await to.has(2))
        assert (server.trace_id != TRACE, server.parent) == (True, "")
        (link,) = server.span.links
        assert (link.trace_id.hex(), link.span_id.hex()) == (TRACE, PARENT)
        assert f"00-{client.trace_id}-{client.id}-".encode() in up.requests[0].one(b"traceparent")
        assert not up.requests[0].all(b"tracestate")


async def test_a_stranger_cannot_have_a_request_recorded_neither_by_a_flag_nor_by_an_id(tmp_path: Path) -> None:
    lowest = f"traceparent: 00-{'0' * 31}1-{PARENT}-01"
    async with upstream() as up, collector() as to:
        async with traced(tmp_path, up, to, sample="0.000000001") as (process, port):
            for field in (SAMPLED, lowest):
                await ask(port, get("/", field))
            await stopped(process)
        assert not to.requests
        for message in up.requests:
            assert int(message.one(b"traceparent")[-2:], 16) & 1 == 0
            assert TRACE.encode() not in message.one(b"traceparent")


@pytest.mark.parametrize(
    "fields",
    [
        [f"traceparent: 00-{TRACE}-{'0' * 16}-01"],
        [f"traceparent: ff-{TRACE}-{PARENT}-01"],
        [f"traceparent: 00-{TRACE.upper()}-{PARENT}-01"],
        [SAMPLED, SAMPLED],
        ["traceparent: " + "0" * 2000],
        ["tracestate: vendor=1"],
    ],
    ids=["zeros", "version", "capitals", "twice", "long", "state-alone"],
)
async def test_what_is_no_traceparent_starts_a_trace_and_is_replaced(fields: list[str], tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (process, port):
        await ask(port, get("/", *fields, "tracestate: vendor=1"))
        server, client = by_kind(await to.has(2))
        assert (server.trace_id != TRACE, server.parent) == (True, "")
        assert f"00-{client.trace_id}-{client.id}-".encode() in up.requests[0].one(b"traceparent")
        assert not up.requests[0].all(b"tracestate")
        assert '"library"' not in process.output


async def test_no_client_can_have_the_trace_dropped_by_naming_it_in_connection(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (_, port):
        await ask(port, get("/", "Connection: traceparent"))
        _, client = by_kind(await to.has(2))
        assert client.id.encode() in up.requests[0].one(b"traceparent")


async def test_requests_on_many_connections_at_once_keep_their_traces_apart(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (_, port):
        await asyncio.gather(*(ask(port, get("/", f"X-Number: {number}")) for number in range(40)))
        spans = await to.has(80)
        parents = {seen.id: seen.parent for seen in spans}
        told = [message.one(b"traceparent").decode().split("-") for message in up.requests]
        assert len({trace for _, trace, _, _ in told}) == 40
        ids = {seen.id: seen.trace_id for seen in spans}
        assert all(ids[span] == trace and parents[parents[span]] == "" for _, trace, span, _ in told)


async def test_the_collector_gets_the_credential_and_nobody_else_does(tmp_path: Path) -> None:
    keys = ", service: edge, credential_header: X-Key, credential_env: TEST_KEY"
    async with upstream() as up, collector() as to, traced(tmp_path, up, to, keys=keys) as (process, port):
        await ask(port, get("/"))
        (seen, _) = await to.has(2)
        assert seen.resource["service.name"] == "edge"
        assert to.requests[0].one(b"x-key") == b"Bearer hunter2hunter2"
        assert b"hunter2" not in up.requests[0].raw_head
        await stopped(process)
        assert "hunter2" not in process.output


async def test_each_worker_sends_its_own_spans_and_the_last_ones_at_the_end(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up, collector() as to:
        arguments = ("--store", redis.url, "--workers", "2")
        async with traced(tmp_path, up, to, *arguments, more="identity: {hash_key_env: TEST_KEY}\n") as (process, port):
            await process.says("(?s)worker_serving.*worker_serving")
            await asyncio.gather(*(ask(port, get("/")) for _ in range(60)))
            await stopped(process)
        spans = await to.has(120)
        assert len({seen.id for seen in spans}) == 120
        assert len({seen.resource["service.instance.id"] for seen in spans}) == 2


async def ask_often(process: Process, port: int) -> None:
    """A thousand requests on one connection, of which none is held up."""
    worker = [*process.children, process.pid][0]
    async with Client.connect(port) as client:
        for _ in range(1000):
            async with at_most(1, worker):
                assert (await client.ask(get())).status == 200


async def test_a_collector_that_fails_is_told_of_once_and_so_is_its_return(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (process, port):
        to.mood = "fails"
        for batch in (1, 2, 3):
            assert (await ask(port, get())).status == 200
            await to.until(lambda to, batch=batch: len(to.requests) >= batch)  # type: ignore[misc]
        await process.says("traces_unavailable.*500")
        to.mood = "takes"
        await ask(port, get())
        await process.says("traces_back")
        await stopped(process)
        assert process.output.count('"traces_unavailable"') == process.output.count('"traces_back"') == 1
        assert '"library"' not in process.output


async def test_a_collector_that_hangs_holds_up_no_request_and_not_the_end(tmp_path: Path) -> None:
    async with upstream() as up, collector() as to, traced(tmp_path, up, to) as (process, port):
        to.mood = "hangs"
        await ask(port, get())
        await to.until(lambda to: len(to.requests) == 1)
        # More than a batch, while the thread that sends hangs.
        await ask_often(process, port)
        async with at_most(8):
            await stopped(process)


async def test_a_collector_that_is_not_there_holds_up_no_request_and_not_the_end(tmp_path: Path) -> None:
    async with collector() as gone:
        pass
    async with upstream() as up, traced(tmp_path, up, gone) as (process, port):
        await ask_often(process, port)
        await process.says("traces_unavailable")
        async with at_most(8):
            await stopped(process)
        assert process.output.count('"traces_unavailable"') == 1
        assert '"library"' not in process.output
