"""HTTP/2 without TLS: a client that says exactly what it means to say, and a gRPC service that says OK."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from tests.waiting import DEADLINE
from tests.wire import serving

_LAST_CALLS = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0"
"""GOAWAY that names no stream: the client is to make no more calls on this connection."""

Headers = Sequence[tuple[str, str]]


def _texts(event: RequestReceived | ResponseReceived | TrailersReceived) -> dict[str, str]:
    """The headers of an event."""
    return {bytes(name).decode(): bytes(value).decode() for name, value in event.headers or ()}


@dataclass
class Reply:
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def status(self) -> int:
        return int(self.headers[":status"])


class Http2Client:
    """A connection on which several requests can be in flight."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.http2 = H2Connection(H2Configuration())
        self._replies: dict[int, Reply] = {}
        self.gone_away = False

    @classmethod
    @asynccontextmanager
    async def connect(cls, port: int, host: str = "127.0.0.1") -> AsyncIterator[Self]:
        client = cls(*await asyncio.open_connection(host, port))
        client.http2.initiate_connection()
        try:
            yield client
        finally:
            client._writer.transport.abort()

    def start(self, method: str, path: str, headers: Headers = (), body: bytes = b"", *, ends: bool = True) -> int:
        """Send a request, or only its beginning. Returns its stream."""
        stream = self.http2.get_next_available_stream_id()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "api.example")]
        self.http2.send_headers(stream, [*pseudo, *headers], end_stream=ends and not body)
        if body:
            self.http2.send_data(stream, body, end_stream=ends)
        self._replies[stream] = Reply()
        self._writer.write(self.http2.data_to_send())
        return stream

    def flush(self) -> None:
        """Send what was done to `http2`."""
        self._writer.write(self.http2.data_to_send())

    async def reply(self, stream: int) -> Reply:
        async with asyncio.timeout(DEADLINE):
            while not self._replies[stream].ended:
                await self._read()
        return self._replies[stream]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read until a condition holds."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await self._read()

    async def goes_away(self) -> None:
        """Wait until the server says that the connection is to end."""
        async with asyncio.timeout(DEADLINE):
            while not self.gone_away:
                await self._read()

    async def _read(self) -> None:
        data = await self._reader.read(65_536)
        assert data, "the connection was closed"
        if _LAST_CALLS in data:  # h2 would send and read nothing more after it
            self.gone_away = True
            data = data.replace(_LAST_CALLS, b"")
        for event in self.http2.receive_data(data):
            self._note(event)
        self.flush()

    def _note(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self._replies[event.stream_id].headers.update(_texts(event))
        elif isinstance(event, DataReceived):
            self._replies[event.stream_id].body += event.data
            self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            self._replies[event.stream_id].ended = True

    async def ask(self, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Reply:
        return await self.reply(self.start(method, path, headers, body))

    async def call(self, path: str, message: bytes = b"", headers: Headers = ()) -> Reply:
        """A unary gRPC call."""
        grpc = [("content-type", "application/grpc"), ("te", "trailers"), *headers]
        return await self.ask("POST", path, grpc, b"\0" + len(message).to_bytes(4) + message)


@asynccontextmanager
async def grpc_service(port: int = 0) -> AsyncIterator[tuple[int, list[str]]]:
    """A gRPC service whose every method returns an empty message. Yields its port, and the paths that were called."""
    called: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http2 = H2Connection(H2Configuration(client_side=False))
        http2.initiate_connection()
        writer.write(http2.data_to_send())
        while data := await reader.read(65_536):
            for event in http2.receive_data(data):
                if isinstance(event, RequestReceived):
                    called.append(_texts(event)[":path"])
                elif isinstance(event, DataReceived):
                    http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    head = [(":status", "200"), ("content-type", "application/grpc")]
                    http2.send_headers(event.stream_id, head)
                    http2.send_data(event.stream_id, b"\0\0\0\0\0")
                    http2.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
            writer.write(http2.data_to_send())

    async with serving(serve, port=port) as server:
        yield server.sockets[0].getsockname()[1], called
