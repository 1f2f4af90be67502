"""`open_tracer`: the tracer and the exporter that the settings describe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway import __version__
from gateway.settings.tracing import Tracing
from gateway.telemetry.log import Log

if TYPE_CHECKING:  # OpenTelemetry is an extra
    from gateway.tracing.spans import RequestTracer


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
