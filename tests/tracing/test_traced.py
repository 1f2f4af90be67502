"""The data plane with tracing: every way in which a request can end also ends its trace, once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.limiter.memory import MemoryLimiter
from gateway.limits.rules import RuleBook, Rules
from gateway.proxy.exchange import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Proxy
from gateway.proxy.refusal import Refusal
from gateway.proxy.request import RequestReader
from gateway.proxy.request_id import RequestIds
from gateway.proxy.server import Server
from gateway.redis.clock import StoreClock
from gateway.settings.answers import Answers
from gateway.settings.dns import Dns
from gateway.settings.intake import Intake
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin
from gateway.tracing.spans import RequestTracer
from gateway.tracing.traced import TracedForwarder, TracingObserver
from tests.kit.identity import make_identity
from tests.proxy.running import Seen
from tests.waiting import DEADLINE
from tests.wire import OK, Client, Conversation, ask, get, upstream

Handle = Callable[[Exchange], Awaitable[object]]


class Spans(InMemorySpanExporter):
    """Keeps spans as they end."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._ended.set()
        return super().export(spans)

    async def has(self, count: int) -> dict[SpanKind, ReadableSpan]:
        """Wait for so many, each of its own kind."""
        async with asyncio.timeout(DEADLINE):
            while len(self.get_finished_spans()) < count:
                self._ended.clear()
                await self._ended.wait()
        found = {span.kind: span for span in self.get_finished_spans()}
        assert len(found) == len(self.get_finished_spans()) == count
        return found


@asynccontextmanager
async def traced(
    *ports: int, handle: Handle | None = None, seen: Seen | None = None
) -> AsyncIterator[tuple[int, Spans]]:
    """A traced proxy in front of upstreams, or in front of a handler of the test's own. Yields its port and spans."""
    spans = Spans()
    observer = TracingObserver(seen or Seen(), RequestTracer(SimpleSpanProcessor(spans), 1, "gateway", "1", "1"))
    settings = replace(Upstream("default", tuple(Origin("http", "127.0.0.1", port) for port in ports)), eject_time=0)
    limiter = MemoryLimiter(1000, StoreClock())
    forwarder = Forwarder({"default": settings}, observer, Dns(), keep_rate_limits=False)
    destination = TracedForwarder(forwarder, {"default": settings}, observer)
    proxy = Proxy(
        RuleBook(Rules((), ())), make_identity(), limiter, destination, RequestReader([]), observer, Refusal(Answers())
    )
    server = Server(
        observer.around(handle or proxy.handle), Intake(), observer, make_identity().trusts, RequestIds(shown=False)
    )
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], spans
    finally:
        listening.close()
        await server.shutdown(0.1)
        forwarder.close()


async def test_an_unexpected_error_is_in_the_span_by_its_type() -> None:
    async def broken(exchange: Exchange) -> None:
        raise LookupError(exchange.message.target)

    async with traced(handle=broken) as (port, spans):
        assert (await ask(port, get("/secret"))).status == 500
        (server,) = (await spans.has(1)).values()
        assert server.status.status_code is StatusCode.ERROR
        assert dict(server.attributes or {})["error.type"] == "LookupError"
        assert "secret" not in server.to_json()


async def test_a_client_that_leaves_ends_both_spans_and_neither_is_an_error() -> None:
    reached = asyncio.Event()

    async def silent(talk: Conversation) -> None:
        await talk.request()
        reached.set()
        await talk.reader.read()

    async with upstream(silent) as up, traced(up.port) as (port, spans):
        async with Client.connect(port) as client:
            await client.send(get())
            await reached.wait()
        for span in (await spans.has(2)).values():
            assert span.status.status_code is StatusCode.UNSET, span.to_json()
        server = (await spans.has(2))[SpanKind.SERVER]
        assert dict(server.attributes or {})["gateway.outcome"] == "client_gone"
        assert "http.response.status_code" not in (server.attributes or {})


async def test_half_a_response_is_an_error_though_its_status_is_200() -> None:
    async def half(talk: Conversation) -> None:
        await talk.request()
        await talk.send(OK.replace(b"Length: 2", b"Length: 9"))

    async with upstream(half) as up, traced(up.port) as (port, spans):
        async with Client.connect(port) as client:
            await client.send(get())
            await client.closed()
        found = await spans.has(2)
        assert {span.status.status_code for span in found.values()} == {StatusCode.ERROR}
        assert dict(found[SpanKind.SERVER].attributes or {})["http.response.status_code"] == 200
        assert dict(found[SpanKind.SERVER].attributes or {})["error.type"] == "upstream_error"


async def test_a_request_sent_twice_has_one_client_span_and_names_no_address_of_several() -> None:
    async def once(talk: Conversation) -> None:
        if talk.number > 1:
            await talk.request()
            await talk.send(OK)
            return
        await talk.request()
        await talk.send(OK)
        await talk.request()  # and no response: the connection was idle, and is closed

    async with upstream(once) as up, traced(up.port, up.port) as (port, spans):
        async with Client.connect(port) as client:
            await client.ask(get())
            await spans.has(2)
            spans.clear()
            assert (await client.ask(get())).status == 200
        found = await spans.has(2)
        assert "server.address" not in (found[SpanKind.CLIENT].attributes or {})
        context = found[SpanKind.CLIENT].get_span_context()
        assert context is not None
        assert f"{context.span_id:016x}".encode() in up.requests[-1].one(b"traceparent")


async def test_a_body_streams_as_without_tracing_and_the_observer_hears_all() -> None:
    seen = Seen()
    async with upstream() as up, traced(up.port, seen=seen) as (port, spans):
        head = get("/", "Transfer-Encoding: chunked", method="POST")
        assert (await ask(port, head + b"3\r\nabc\r\n0\r\n\r\n")).status == 200
        assert up.requests[0].body == b"abc"
        await spans.has(2)
    assert [(endpoint, outcome.value, status) for endpoint, outcome, status in seen.fates] == [
        ("default", "allowed", 200)
    ]


@pytest.mark.parametrize(("method", "name", "attribute"), [("GET", "GET", "GET"), ("PROPFIND", "HTTP", "_OTHER")])
async def test_methods_that_the_conventions_do_not_know_have_another_name(
    method: str, name: str, attribute: str
) -> None:
    async with upstream() as up, traced(up.port) as (port, spans):
        await ask(port, get("/", method=method))
        found = await spans.has(2)
        assert (found[SpanKind.SERVER].name, found[SpanKind.CLIENT].name) == (f"{name} default", name)
        for span in found.values():
            attributes = dict(span.attributes or {})
            assert attributes["http.request.method"] == attribute
            assert attributes.get("http.request.method_original", method) == method
