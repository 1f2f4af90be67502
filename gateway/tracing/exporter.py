"""`OtlpExporter`: where spans go, over OTLP/HTTP, from a thread of its own.

Nobody waits for it. Spans that it does not take in time are dropped, the oldest first, and the log says when it goes
away and when it is back, not what becomes of each batch.
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
"""Seconds that one batch may take, repetitions included."""

_LAST_WAIT = 1.0
"""Seconds in which what is left may still be sent when the gateway ends."""

_LAST_WORD = 0.2
"""Seconds for the thread to notice that it is over."""

_PERIOD = 1_000
"""Milliseconds after which spans are sent, however few there are."""

_BATCH, _HELD = 512, 8_192
"""Spans sent at a time, and kept at most: about 3 KB each."""

_LIBRARY = "opentelemetry"
_LONGEST_WHY = 300


class Complaints(logging.Handler):
    """Takes what the library logs of each batch out of the log.

    Attributes:
        first: What it said first of the batch under way; the first says most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; what it is filled with comes from the collector or the network, never from a client."""
        if record.levelno >= logging.WARNING and not self.first:
            self.first = record.getMessage().partition("\n")[0][:_LONGEST_WHY]


class Watched(SpanExporter):
    """An exporter, and the log that hears of it when it stops to get through, and when it does again.

    Args:
        exporter: Sends spans.
        log: Is told.
        complaints: Knows why a batch was not sent.
    """

    def __init__(self, exporter: SpanExporter, log: Log, complaints: Complaints) -> None:
        self._exporter = exporter
        self._log = log
        self._complaints = complaints
        self._away_since: float | None = None
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, from the exporter's thread."""
        if self._closed:
            return SpanExportResult.FAILURE
        self._complaints.first = ""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._away_since is not None:
                self._log.event("traces_back", away_seconds=round(time.monotonic() - self._away_since, 3))
            self._away_since = None
        elif self._away_since is None:
            self._away_since = time.monotonic()
            self._log.event("traces_away", level="warning", why=self._complaints.first)
        return result

    def shutdown(self) -> None:
        """Send no more, and wait for nothing."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()


class OtlpExporter:
    """The way to a collector. It starts a thread: open it in each worker, after the fork.

    Args:
        endpoint: Its URL for traces.
        log: Hears when it goes away and when it is back.
        ca: Certificates to trust for https, in PEM; None for those of the package `certifi`.
        fields: Header fields that the collector wants to see.

    Attributes:
        processor: Takes spans that have ended, without waiting.
    """

    def __init__(
        self, endpoint: str, log: Log, ca: Path | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        self._complaints = Complaints()
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self._complaints)
        library.propagate = False
        session = requests.Session()
        session.trust_env = False  # no proxy, no .netrc: what is sent where stands in the settings
        exporter = OTLPSpanExporter(
            endpoint,
            certificate_file=None if ca is None else str(ca),
            headers=fields,
            timeout=_TIMEOUT,
            compression=Compression.NoCompression,
            session=session,
        )
        self._exporter = Watched(exporter, log, self._complaints)
        self.processor = BatchSpanProcessor(self._exporter, _HELD, _PERIOD, _BATCH)

    async def close(self) -> None:
        """Send what is left, for at most 1.2 seconds."""
        # A thread that Python does not wait for when it ends: the processor itself would wait for half a minute.
        closing = threading.Thread(target=self.processor.shutdown, name="last spans", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, _LAST_WAIT)
        self._exporter.shutdown()
        await asyncio.to_thread(closing.join, _LAST_WORD)
        if not closing.is_alive():  # one that hangs in a call may still complain, to nobody
            library = logging.getLogger(_LIBRARY)
            library.removeHandler(self._complaints)
            library.propagate = True
