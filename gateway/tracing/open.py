"""`open_tracer`: the tracer and the exporter that the settings describe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from gateway import __version__
from gateway.settings.tracing import Tracing
from gateway.telemetry.log import Log
from gateway.tracing.tracer import Tracer


@asynccontextmanager
async def open_tracer(tracing: Tracing, log: Log) -> AsyncIterator[Tracer]:
    """Makes spans of requests and exports them, on a thread of its own."""
    # Imported here because they need an extra; the configuration has checked that it is installed.
    from gateway.tracing.exporter import OtlpExporter  # noqa: PLC0415
    from gateway.tracing.spans import SpanTracer  # noqa: PLC0415

    headers = {tracing.credential_header: tracing.credential} if tracing.credential else {}
    exporter = OtlpExporter(tracing.endpoint, log, tracing.ca, headers)
    try:
        yield SpanTracer(exporter.processor, tracing.sample, tracing.service, __version__, str(uuid4()))
    finally:
        await exporter.close()
