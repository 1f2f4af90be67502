"""The data plane, traced: each part is the one that there is without tracing, with a few steps around it.

Without tracing nothing of this is in the way of a request. With it, a trace is known by the task that answers the
request, since a observer is told no more of it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar

from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import Demand
from gateway.limits.identity import Caller
from gateway.proxy.exchange import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.observer import RequestObserver
from gateway.proxy.request import RequestHead
from gateway.settings.dns import Dns
from gateway.settings.upstream import Upstream
from gateway.tracing.tracer import RawFields, Trace, Tracer

_TRACE_CONTEXT = (b"traceparent", b"tracestate")


class TracingObserver:
    """Tells a request's trace what a observer is told, and then the observer.

    Args:
        observer: Is told all the same.
        tracer: Begins traces.
    """

    __slots__ = ("_current", "_observer", "_tracer")

    def __init__(self, observer: RequestObserver, tracer: Tracer) -> None:
        self._observer = observer
        self._tracer = tracer
        self._current: ContextVar[Trace] = ContextVar("trace")

    @property
    def trace(self) -> Trace:
        """Of the request that the current task answers."""
        return self._current.get()

    def around(self, handle: Callable[[Exchange], Awaitable[object]]) -> Callable[[Exchange], Awaitable[object]]:
        """What answers requests as `handle` does, each in a trace."""

        async def traced(exchange: Exchange) -> object:
            headers, client = exchange.message.headers, exchange.client
            trace = self._tracer.begin(
                exchange.message.method,
                client.scheme,
                headers.getall("traceparent", ()),
                headers.getall("tracestate", ()),
                trusted=client.trusted,
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
        """Limits were asked."""
        refused_by = []
        if verdict.outcome is Outcome.REFUSED:
            charges = [demands[position].charge for position in verdict.decision.refused]
            refused_by = [charge.limit for charge in charges if charge.enforced]
        self.trace.decided(refused_by, degraded=verdict.degraded)
        self._observer.decided(endpoint, caller, demands, verdict)

    def bypassed(self, limits: Iterable[str]) -> None:
        """Limits did not count a request that falls under them."""
        self._observer.bypassed(limits)

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream has answered to the end."""
        self._observer.upstream_took(upstream, seconds)

    def upstream_unreachable(self, upstream: str, why: str) -> None:
        """No connection to an address of an upstream came about."""
        self._observer.upstream_unreachable(upstream, why)

    def name_unresolved(self, name: str, why: str) -> None:
        """Addresses that were known before are used."""
        self._observer.name_unresolved(name, why)

    def rejected(self, cause: str) -> None:
        """A connection was not taken, or was cut off."""
        self._observer.rejected(cause)

    def served(
        self, request_id: str, endpoint: str, method: str, caller: bytes, outcome: Outcome, status: int, seconds: float
    ) -> None:
        """A request has come to its end."""
        self.trace.served(endpoint, outcome, status)
        self._observer.served(request_id, endpoint, method, caller, outcome, status, seconds)

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        """A request has come to its end by an error that nobody foresaw. Its trace has been told."""
        self._observer.failed(request_id, status, error)


class TracedForwarder(Forwarder):
    """Forwards requests with the trace they are in written into their heads.

    Args:
        upstreams: By name.
        observer: Knows the trace.
        dns: As for `Forwarder`.
        keep_rate_limits: As for `Forwarder`.
    """

    __slots__ = ("_traced", "_upstreams")

    def __init__(
        self, upstreams: Mapping[str, Upstream], observer: TracingObserver, dns: Dns, *, keep_rate_limits: bool
    ) -> None:
        super().__init__(upstreams, observer, dns, keep_rate_limits=keep_rate_limits)
        self._upstreams = upstreams
        self._traced = observer

    async def forward(self, exchange: Exchange, head: RequestHead, name: str, max_body: int) -> Outcome:
        """As `Forwarder.forward`."""
        trace, urls = self._traced.trace, self._upstreams[name].urls
        host, port = (urls[0].host, urls[0].port) if len(urls) == 1 else (None, None)
        _write(exchange, trace.forward(name, host, port))
        outcome = await super().forward(exchange, head, name, max_body)
        trace.returned(outcome, exchange.status)
        return outcome


def _write(exchange: Exchange, fields: RawFields) -> None:
    """Put our own fields in the place of the client's."""
    message = exchange.message
    kept = [field for field in message.raw_headers if field[0].lower() not in _TRACE_CONTEXT]
    exchange.message = message._replace(raw_headers=(*kept, *fields))
