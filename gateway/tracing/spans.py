"""`SpanTracer`: requests as OpenTelemetry spans, by the stable semantic conventions for HTTP.

Whose trace a request belongs to:

* A trusted proxy's ``traceparent`` is gone on with, and whether the trace is recorded is what the proxy said.
* A stranger's is not: the trace starts anew at the gateway, as W3C Trace Context (section 3.4, "Restart trace") has it
  for front gates into secure networks. A sampled flag, or an id that lies on the right side of the sampling ratio,
  would else have a stranger decide how much we record. The new trace is linked to theirs, so it can still be found.
* A request without one, or with one that is broken or stands twice, starts a trace.

A trace that starts here is recorded for the share of requests that the settings say. Whether it is or not, the upstream
is told: of the gateway's client span, or of the trace alone if nothing is recorded.

Left out of the conventions on purpose is what may name a person: ``url.path``, ``url.query``, ``url.full``,
``client.address`` and ``user_agent.original``. ``http.route`` is the endpoint's name.
"""

from collections.abc import Sequence
from http import HTTPStatus

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Methods that the conventions know; others are ``_OTHER`` in attributes and ``HTTP`` in names."""

_ALLOWED = "allowed"
_CLIENT_GONE = "client_gone"
_UPSTREAM_ERROR = "upstream_error"


class SpanTrace:
    """One request's part of a trace: a server span, and a client span within it when the request is forwarded.

    Args:
        tracer: Makes spans.
        server: The server span.
        method: The request's, as it came.
    """

    __slots__ = ("_client", "_method", "_records", "_server", "_tracer")

    def __init__(self, tracer: Tracer, server: Span, method: str) -> None:
        self._tracer = tracer
        self._server = server
        self._method = method
        self._client: Span | None = None
        self._records = server.is_recording()

    def decided(self, refused_by: Sequence[str], *, degraded: bool) -> None:
        """Limits were asked; these refuse."""
        if refused_by:
            self._server.set_attribute("gateway.limits", refused_by)
        if degraded:
            self._server.set_attribute("gateway.degraded", value=True)

    def forward(self, upstream: str, host: str | None, port: int | None) -> list[tuple[bytes, bytes]]:
        """The request goes to an upstream from now on. Returns the fields that say in which trace."""
        span = self._server
        if self._records:
            attributes: dict[str, AttributeValue] = {**_method_of(self._method), "gateway.upstream": upstream}
            if host is not None and port is not None:
                attributes |= {"server.address": host, "server.port": port}
            inside = set_span_in_context(self._server, Context())
            span = self._client = self._tracer.start_span(_name(self._method), inside, SpanKind.CLIENT, attributes)
        context = span.get_span_context()
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        fields = [(b"traceparent", parent.encode())]
        if context.trace_state:
            fields.append((b"tracestate", context.trace_state.to_header().encode()))
        return fields

    def returned(self, outcome: str, status: int) -> None:
        """The exchange with the upstream has come to its end."""
        client, self._client = self._client, None
        if client is None:
            return
        if outcome == _ALLOWED:
            client.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.BAD_REQUEST:
                _fail(client, str(status))
        elif outcome == _UPSTREAM_ERROR:
            _fail(client, outcome)  # the status is that of our own answer
        client.end()

    def served(self, endpoint: str, outcome: str, status: int) -> None:
        """What became of the request."""
        if not self._records:
            return
        server = self._server
        server.set_attribute("gateway.outcome", outcome)
        if endpoint:
            server.update_name(f"{_name(self._method)} {endpoint}")
            server.set_attribute("http.route", endpoint)
        if outcome == _CLIENT_GONE:
            return  # nobody has seen the status, and it is nobody's error
        if status:
            server.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _fail(server, str(status))
        elif outcome == _UPSTREAM_ERROR:
            _fail(server, outcome)

    def failed(self, error: str) -> None:
        """Answering the request ended in an error."""
        _fail(self._server, error)

    def end(self) -> None:
        """The request has come to its end."""
        if self._client is not None:
            self._client.end()
        self._server.end()


class SpanTracer:
    """Begins traces, or goes on with those of trusted proxies.

    Args:
        processor: Takes spans that have ended.
        sample: The share of traces starting here that is recorded.
        service: What we are called in them.
        version: Ours.
        instance: Tells this process from others of the same name.
    """

    __slots__ = ("_propagator", "_tracer")

    def __init__(self, processor: SpanProcessor, sample: float, service: str, version: str, instance: str) -> None:
        resource = Resource.create(
            {"service.name": service, "service.version": version, "service.instance.id": instance}
        )
        provider = TracerProvider(ParentBased(TraceIdRatioBased(sample)), resource, shutdown_on_exit=False)
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("gateway", version)
        self._propagator = TraceContextTextMapPropagator()

    def begin(
        self, method: str, scheme: str, parents: Sequence[str], states: Sequence[str], *, trusted: bool
    ) -> SpanTrace:
        """A request has come, with these ``traceparent`` and ``tracestate`` fields, from a trusted proxy or not."""
        context, links = Context(), list[Link]()
        if len(parents) == 1:
            told = {"traceparent": parents[0]}
            if trusted:
                context = self._propagator.extract({**told, "tracestate": ",".join(states)}, context)
            else:
                stranger = get_current_span(self._propagator.extract(told, context)).get_span_context()
                links = [Link(stranger)] if stranger.is_valid else links
        server = self._tracer.start_span(
            _name(method), context, SpanKind.SERVER, {**_method_of(method), "url.scheme": scheme}, links
        )
        return SpanTrace(self._tracer, server, method)


def _name(method: str) -> str:
    return method if method in _METHODS else "HTTP"


def _method_of(method: str) -> dict[str, AttributeValue]:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method}


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))
