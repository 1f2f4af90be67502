"""The data plane with tracing: its observer, handler and forwarder, each wrapped by a few steps.

Without tracing none of this is in the path of a request. With it, the current task identifies the trace, since
observers are not passed the request.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway import __version__
from gateway.limiter.verdict import Outcome, OverLimits, Verdict
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.claimed_rate import UnusableClaim
from gateway.limits.measured_cost import Measurement
from gateway.limits.rejection import Rejection
from gateway.proxy.allowed import Allowed
from gateway.proxy.exchange import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.observer import RequestObserver
from gateway.settings.tracing import Tracing
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.log import Log

if TYPE_CHECKING:  # OpenTelemetry is an extra
    from gateway.tracing.spans import RequestTrace, RequestTracer

_TRACE_HEADERS = frozenset({b"traceparent", b"tracestate"})


class TracingObserver:
    """A `RequestObserver` that records in the request's trace, and passes everything on.

    Args:
        observer: Receives everything.
        tracer: Starts traces.
    """

    __slots__ = ("_current", "_observer", "_tracer")

    def __init__(self, observer: RequestObserver, tracer: "RequestTracer") -> None:
        self._observer = observer
        self._tracer = tracer
        self._current: ContextVar[RequestTrace] = ContextVar("trace")

    @property
    def trace(self) -> "RequestTrace":
        """The trace of the request that the current task handles."""
        return self._current.get()

    def around(self, handle: Callable[[Exchange], Awaitable[object]]) -> Callable[[Exchange], Awaitable[object]]:
        """Wrap a handler: each request is handled in a trace."""

        async def traced(exchange: Exchange) -> object:
            headers, client = exchange.message.headers, exchange.client
            trace = self._tracer.begin(
                exchange.message.method,
                client.peer.scheme,
                headers.getall("traceparent", ()),
                headers.getall("tracestate", ()),
                trusted=client.peer.trusted,
            )
            self._current.set(trace)
            try:
                return await handle(exchange)
            except BaseException as error:
                trace.failed(type(error).__qualname__)
                raise
            finally:
                trace.end()

        return traced

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:
        """The limiter decided on a request."""
        refused = verdict.decision.refused
        over = OverLimits(demands, refused) if refused else None
        self.trace.decided(caller.source, over, degraded=verdict.degraded)
        self._observer.decided(endpoint, caller, demands, verdict)

    def bypassed(self, endpoint: str, limits: Iterable[str]) -> None:
        """These limits apply to a request, but did not count it."""
        self._observer.bypassed(endpoint, limits)

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream's response is complete."""
        self._observer.upstream_took(upstream, seconds)

    def upstream_unreachable(self, upstream: str, reason: str, why: str) -> None:
        """A connection to an address of an upstream failed."""
        self._observer.upstream_unreachable(upstream, reason, why)

    def upstream_failed(self, upstream: str, address: str, reason: str, why: str) -> None:
        """See `RequestObserver`."""
        self._observer.upstream_failed(upstream, address, reason, why)

    def server_left_out(self, upstream: str, address: str, reason: str, why: str) -> None:
        """See `RequestObserver`."""
        self._observer.server_left_out(upstream, address, reason, why)

    def server_back(self, upstream: str, address: str, seconds: float) -> None:
        """See `RequestObserver`."""
        self._observer.server_back(upstream, address, seconds)

    def name_unresolved(self, name: str, why: str) -> None:
        """Addresses that were known before are used."""
        self._observer.name_unresolved(name, why)

    def rejected(self, cause: str) -> None:
        """A client connection was rejected or cut off."""
        self._observer.rejected(cause)

    def measured(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict, measured: Measurement
    ) -> None:
        """See `RequestObserver`."""
        self._observer.measured(endpoint, caller, demands, verdict, measured)

    def claims_unusable(self, claims: Iterable[UnusableClaim]) -> None:
        """See `RequestObserver`."""
        self._observer.claims_unusable(claims)

    def identity_rejected(self, rejection: Rejection) -> None:
        """See `RequestObserver`."""
        self._observer.identity_rejected(rejection)

    def served(self, record: AccessRecord) -> None:
        """A request ended."""
        self.trace.served(record.endpoint, record.outcome, record.status)
        self._observer.served(record)

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        """A request ended with an unexpected error, which `around` has recorded in its trace."""
        self._observer.failed(request_id, status, error)


class TracedForwarder:
    """Forwards requests with the trace's headers.

    Args:
        forwarder: Forwards them; its observer is the same.
        upstreams: By name.
        observer: Has the current trace.
    """

    __slots__ = ("_forwarder", "_traced", "_upstreams")

    def __init__(self, forwarder: Forwarder, upstreams: Mapping[str, Upstream], observer: TracingObserver) -> None:
        self._forwarder = forwarder
        self._upstreams = upstreams
        self._traced = observer

    async def forward(self, exchange: Exchange, allowed: Allowed) -> Outcome:
        """As `Forwarder.forward`."""
        name = allowed.endpoint.upstream
        trace, urls = self._traced.trace, self._upstreams[name].urls
        host, port = _address(urls[0]) if len(urls) == 1 else (None, None)
        exchange.message.replace_raw(_TRACE_HEADERS, trace.forward(name, host, port))
        outcome = await self._forwarder.forward(exchange, allowed)
        trace.forwarded(outcome, exchange.status)
        return outcome


def _address(url: Origin) -> tuple[str, int | None]:
    """OpenTelemetry's server.address and server.port."""
    return (url.socket, None) if url.socket else (url.host, url.port)


@asynccontextmanager
async def open_tracer(tracing: Tracing, log: Log) -> AsyncIterator["RequestTracer"]:
    """Open a tracer whose spans are exported by a thread of its own."""
    # Imported here because they need an extra; the configuration has checked that it is installed.
    from gateway.tracing.exporter import OtlpExporter  # noqa: PLC0415
    from gateway.tracing.spans import RequestTracer  # noqa: PLC0415

    headers = {tracing.credential_header: tracing.credential} if tracing.credential else {}
    exporter = OtlpExporter(tracing.endpoint, log, tracing.ca, headers)
    try:
        yield RequestTracer(exporter.processor, tracing.sample, tracing.service, __version__, str(uuid4()))
    finally:
        await exporter.close()
