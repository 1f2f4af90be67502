"""A collector of traces on a port of its own: it takes OTLP over HTTP, or fails to as a test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.waiting import DEADLINE
from tests.wire import Conversation, Message, upstream

DONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


def values(attributes: list[KeyValue]) -> dict[str, object]:
    """Attributes as they are in Python."""
    found: dict[str, object] = {}
    for entry in attributes:
        kind = entry.value.WhichOneof("value")
        assert kind is not None
        if kind == "array_value":
            found[entry.key] = [each.string_value for each in entry.value.array_value.values]
        else:
            found[entry.key] = getattr(entry.value, kind)
    return found


@dataclass
class Seen:
    """A span, as it was on the wire."""

    span: Span
    resource: dict[str, object]

    @property
    def attributes(self) -> dict[str, object]:
        return values(list(self.span.attributes))

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()


@dataclass
class Collector:
    """What has come in, and how it is answered.

    Attributes:
        mood: ``takes`` spans, ``fails`` with a 500, or ``hangs``: reads, and does not answer.
        spans: What was taken.
        requests: As they were on the wire, however they were answered.
    """

    port: int = 0
    mood: str = "takes"
    spans: list[Seen] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    async def talk(self, conversation: Conversation) -> None:
        while True:
            message = await conversation.request()
            if self.mood == "takes":
                self._take(message)
            self.requests.append(message)
            async with self.changed:
                self.changed.notify_all()
            if self.mood == "hangs":
                await conversation.reader.read()
            await conversation.send(DONE if self.mood == "takes" else BROKEN)

    def _take(self, message: Message) -> None:
        assert message.start == b"POST /v1/traces HTTP/1.1"
        assert message.one(b"content-type") == b"application/x-protobuf"
        for resource in ExportTraceServiceRequest.FromString(message.body).resource_spans:
            facts = values(list(resource.resource.attributes))
            self.spans += [Seen(span, facts) for scope in resource.scope_spans for span in scope.spans]

    async def until(self, reached: Callable[["Collector"], bool]) -> None:
        """Wait for what is to come."""
        async with asyncio.timeout(DEADLINE), self.changed:
            await self.changed.wait_for(lambda: reached(self))

    async def has(self, count: int) -> list[Seen]:
        """Wait for so many spans. Returns them, no more have come."""
        await self.until(lambda self: len(self.spans) >= count)
        assert len(self.spans) == count, [seen.span.name for seen in self.spans]
        return self.spans


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run a collector while the block runs."""
    served = Collector()
    async with upstream(served.talk) as listening:
        served.port = listening.port
        yield served
