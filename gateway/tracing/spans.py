"""`RequestTracer`: requests as OpenTelemetry spans, by the stable semantic conventions for HTTP.

Which trace a request belongs to:

* The ``traceparent`` of a trusted proxy is continued, and recorded if the proxy sampled it.
* The one of an untrusted client is not: the trace restarts at the gateway, as W3C Trace Context (section 3.4, "Restart
  trace") has it for front gateways of secure networks. Otherwise a client could decide how much is recorded, by the
  sampled flag or by a trace id below the sampling ratio. The new trace is linked to the client's, so both can be found.
* A request without one, or with an invalid or repeated one, starts a trace.

A trace that starts here is recorded for the share of requests that the settings say. Recorded or not, the upstream is
sent a ``traceparent``: with the gateway's client span, or with the trace alone if nothing is recorded.

Attributes that may identify a person are left out on purpose: ``url.path``, ``url.query``, ``url.full``,
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

from gateway.limiter.verdict import Outcome, OverLimits

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Methods that the conventions know; others are ``_OTHER`` in attributes and ``HTTP`` in span names."""


class RequestTrace:
    """The spans of one request: a server span, and a client span within it when the request is forwarded.

    Nothing here waits or fails. `end` comes last, once.

    Args:
        tracer: Starts spans.
        server: The server span.
        method: The request's, as received.
    """

    __slots__ = ("_client", "_method", "_recorded", "_server", "_tracer")

    def __init__(self, tracer: Tracer, server: Span, method: str) -> None:
        self._tracer = tracer
        self._server = server
        self._method = method
        self._client: Span | None = None
        self._recorded = server.is_recording()

    def decided(self, source: str, over: OverLimits | None, *, degraded: bool) -> None:
        """The limiter decided.

        Args:
            source: What identified the caller.
            over: The limits that the request is over; None if it is over none.
            degraded: Whether it was decided without the shared store.
        """
        if over is not None and self._recorded:
            for attribute, names in (("gateway.limits", over.refusing), ("gateway.over_limit", over.told)):
                if names:
                    self._server.set_attribute(attribute, names)
            self._server.set_attribute("gateway.source", source)
        if degraded:
            self._server.set_attribute("gateway.degraded", value=True)

    def forward(self, upstream: str, host: str | None, port: int | None) -> list[tuple[bytes, bytes]]:
        """Start the client span.

        Args:
            upstream: The upstream's name.
            host: Its host; None if it has several addresses.
            port: Its port; None as above.

        Returns:
            The headers to send to the upstream.
        """
        span = self._server
        if self._recorded:
            attributes: dict[str, AttributeValue] = {**_method_attributes(self._method), "gateway.upstream": upstream}
            if host is not None and port is not None:
                attributes |= {"server.address": host, "server.port": port}
            parent = set_span_in_context(self._server, Context())
            span = self._client = self._tracer.start_span(_name(self._method), parent, SpanKind.CLIENT, attributes)
        context = span.get_span_context()
        traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        headers = [(b"traceparent", traceparent.encode())]
        if context.trace_state:
            headers.append((b"tracestate", context.trace_state.to_header().encode()))
        return headers

    def forwarded(self, outcome: Outcome, status: int) -> None:
        """End the client span.

        Args:
            outcome: ``allowed`` if the upstream's response is complete.
            status: Of the response to the client; 0 if there was none.
        """
        client, self._client = self._client, None
        if client is None:
            return
        if outcome is Outcome.ALLOWED:
            client.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.BAD_REQUEST:
                _fail(client, str(status))
        elif outcome is Outcome.UPSTREAM_ERROR:
            _fail(client, outcome.value)  # the status is that of the gateway's own response
        client.end()

    def served(self, endpoint: str, outcome: Outcome, status: int) -> None:
        """The request ended; see `RequestObserver.served`."""
        if not self._recorded:
            return
        server = self._server
        server.set_attribute("gateway.outcome", outcome.value)
        if endpoint:
            server.update_name(f"{_name(self._method)} {endpoint}")
            server.set_attribute("http.route", endpoint)
        if outcome is Outcome.CLIENT_GONE:
            return  # the client saw no status, and its leaving is no error
        if status:
            server.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _fail(server, str(status))
        elif outcome is Outcome.UPSTREAM_ERROR:
            _fail(server, outcome.value)

    def failed(self, error: str) -> None:
        """The request ended with an error of this type."""
        _fail(self._server, error)

    def end(self) -> None:
        """End the spans."""
        if self._client is not None:
            self._client.end()
        self._server.end()


class RequestTracer:
    """Starts traces, and continues those of trusted proxies.

    Args:
        processor: Takes spans that have ended.
        sample: The share of traces starting here that is recorded.
        service: The gateway's name in traces.
        version: The gateway's version.
        instance: Distinguishes this process from others with the same name.
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
    ) -> RequestTrace:
        """Start the trace of a request, or continue the one it is part of.

        Args:
            method: As received.
            scheme: ``http`` or ``https``.
            parents: Values of its ``traceparent`` headers.
            states: Values of its ``tracestate`` headers.
            trusted: Whether it came from a trusted proxy.
        """
        context, links = Context(), list[Link]()
        if len(parents) == 1:
            carrier = {"traceparent": parents[0]}
            if trusted:
                context = self._propagator.extract({**carrier, "tracestate": ",".join(states)}, context)
            else:
                untrusted = get_current_span(self._propagator.extract(carrier, context)).get_span_context()
                links = [Link(untrusted)] if untrusted.is_valid else links
        server = self._tracer.start_span(
            _name(method), context, SpanKind.SERVER, {**_method_attributes(method), "url.scheme": scheme}, links
        )
        return RequestTrace(self._tracer, server, method)


def _name(method: str) -> str:
    return method if method in _METHODS else "HTTP"


def _method_attributes(method: str) -> dict[str, AttributeValue]:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method}


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))
