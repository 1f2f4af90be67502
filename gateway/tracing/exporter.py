"""`OtlpExporter`: sends spans to a collector over OTLP/HTTP, from a thread of its own.

No request waits for it. When the collector does not accept spans fast enough, the oldest are dropped. The log says when
the collector becomes unavailable and when it is back, not what happens to each batch.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway.telemetry.log import Log

_TIMEOUT = 5.0
"""Seconds that one batch may take, retries included."""

_FLUSH_TIMEOUT = 1.0
"""Seconds for which spans are still sent when the worker exits."""

_STOP_TIMEOUT = 0.2
"""Seconds for the thread to notice the shutdown after that."""

_INTERVAL = 1_000
"""Milliseconds after which spans are sent, however few there are."""

_BATCH, _BUFFER = 512, 8_192
"""Spans sent at a time, and buffered at most: about 3 KB each."""

_LIBRARY = "opentelemetry"
_MAX_MESSAGE_LENGTH = 300


class LibraryErrors(logging.Handler):
    """Keeps what the library logs about each batch out of the gateway's log.

    Attributes:
        first: The first warning or error about the current batch, which is the most specific one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's message; its arguments come from the collector or the network, never from a client."""
        if record.levelno >= logging.WARNING and not self.first:
            self.first = record.getMessage().partition("\n")[0][:_MAX_MESSAGE_LENGTH]


class MonitoredExporter(SpanExporter):
    """Exports spans, and logs when that starts to fail and when it works again.

    Args:
        exporter: Sends spans.
        log: Where to log.
        errors: Why the current batch was not sent.
    """

    def __init__(self, exporter: SpanExporter, log: Log, errors: LibraryErrors) -> None:
        self._exporter = exporter
        self._log = log
        self._errors = errors
        self._unavailable_since: float | None = None
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Called by the exporter's thread."""
        if self._closed:
            return SpanExportResult.FAILURE
        self._errors.first = ""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._unavailable_since is not None:
                seconds = round(time.monotonic() - self._unavailable_since, 3)
                self._log.event("traces_back", unavailable_seconds=seconds)
            self._unavailable_since = None
        elif self._unavailable_since is None:
            self._unavailable_since = time.monotonic()
            self._log.event("traces_unavailable", level="warning", why=self._errors.first)
        return result

    def shutdown(self) -> None:
        """Stop sending, without waiting."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()


class OtlpExporter:
    """Sends spans to a collector. It starts a thread: open it in each worker, after the fork.

    Args:
        endpoint: The collector's URL for traces.
        log: Where to log that the collector is unavailable, or back.
        ca: Certificates to trust for https, in PEM; None for those of the package `certifi`.
        headers: Headers that the collector requires.

    Attributes:
        processor: Takes spans that have ended, without waiting.
    """

    def __init__(
        self, endpoint: str, log: Log, ca: Path | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._errors = LibraryErrors()
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self._errors)
        library.propagate = False
        session = requests.Session()
        session.trust_env = False  # no proxy and no .netrc: the settings alone say what is sent where
        exporter = OTLPSpanExporter(
            endpoint,
            certificate_file=None if ca is None else str(ca),
            headers=headers,
            timeout=_TIMEOUT,
            compression=Compression.NoCompression,
            session=session,
        )
        self._exporter = MonitoredExporter(exporter, log, self._errors)
        self.processor = BatchSpanProcessor(self._exporter, _BUFFER, _INTERVAL, _BATCH)

    async def close(self) -> None:
        """Send buffered spans, for at most 1.2 seconds."""
        # A daemon thread, which Python does not wait for at exit: the processor itself would wait for half a minute.
        closing = threading.Thread(target=self.processor.shutdown, name="last spans", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, _FLUSH_TIMEOUT)
        self._exporter.shutdown()
        await asyncio.to_thread(closing.join, _STOP_TIMEOUT)
        if not closing.is_alive():  # a thread that hangs may still log errors, which nobody needs
            library = logging.getLogger(_LIBRARY)
            library.removeHandler(self._errors)
            library.propagate = True
