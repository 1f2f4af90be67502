"""`GrpcConnection`: a connection of HTTP/2 on which unary gRPC calls come in.

h2 reads and writes the protocol (RFC 9113); what is sent within it is gRPC over HTTP/2: one message each way, behind
five bytes that say whether it is compressed and how long it is, and a status in the trailers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

_MAX_MESSAGE = 65_536
"""Bytes of a request's message."""

_MAX_CALLS = 1_000
"""Calls in flight on a connection."""

_PREFIX = 5
"""Bytes in front of a message."""

_LAST_WAIT = 1.0
"""Seconds in which calls that are on their way arrive when the connection is to end."""

_EVERY_STREAM = 2**31 - 1


class GrpcStatus(IntEnum):
    """The status codes of gRPC that are used."""

    OK = 0
    INVALID_ARGUMENT = 3
    UNIMPLEMENTED = 12
    INTERNAL = 13


class GrpcError(Exception):
    """A call fails with a status other than OK.

    Args:
        status: The status.
        text: Why, for whoever operates the client; printable ASCII.
    """

    def __init__(self, status: GrpcStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


Call = Callable[[str, bytes], Awaitable[bytes]]
"""Carries out a call: from the path of its method and the message to the response's message; raises `GrpcError`."""


class GrpcConnection(asyncio.Protocol):
    """A connection from a gRPC client.

    Args:
        call: Carries out a call.
        failed: Is told of unexpected errors.
        opened: Called once there is a transport; returns whether the connection is admitted.
        closed: Called when an admitted connection is lost.
    """

    def __init__(
        self,
        call: Call,
        failed: Callable[[Exception], None],
        opened: "Callable[[GrpcConnection, asyncio.Transport], bool]",
        closed: "Callable[[GrpcConnection], None]",
    ) -> None:
        self._call = call
        self._failed = failed
        self._opened = opened
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._http2 = H2Connection(H2Configuration(client_side=False))
        self._http2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: _MAX_CALLS}
        )
        self._transport: asyncio.Transport | None = None
        self._open: set[int] = set()  # the streams on which a response is waited for
        self._paths: dict[int, str] = {}
        self._bodies: dict[int, bytearray] = {}
        self._waiting: dict[int, bytes] = {}  # responses for which there was no window yet
        self._calls: set[asyncio.Task[None]] = set()
        self._flushing = False
        self._draining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # it is one
        """Begin, if the peer is admitted."""
        if not self._opened(self, transport):
            transport.close()
            return
        self._transport = transport
        self._http2.initiate_connection()
        self._flush()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The connection is closed, by either side."""
        if self._transport is not None:
            self._transport = None
            self._open.clear()
            self._closed(self)
            for call in self._calls:
                call.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._transport is None:
            return
        try:
            for event in self._http2.receive_data(data):
                self._handle(event)
        except ProtocolError:
            self._flush()  # h2 has written why
            self._end()
            return
        self._flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            stream = event.stream_id
            self._open.add(stream)
            self._paths[stream] = dict(event.headers).get(b":path", b"").decode(errors="replace")
            self._bodies[stream] = bytearray()
        elif isinstance(event, DataReceived):
            self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            begun = self._bodies.get(event.stream_id)
            if begun is not None and len(begun) <= _MAX_MESSAGE + _PREFIX:
                begun += event.data
        elif isinstance(event, StreamEnded) and event.stream_id in self._paths:
            path, body = self._paths.pop(event.stream_id), bytes(self._bodies.pop(event.stream_id))
            task = self._loop.create_task(self._carry_out(event.stream_id, path, body))
            self._calls.add(task)
            task.add_done_callback(self._forget)
        elif isinstance(event, StreamReset):
            self._open.discard(event.stream_id)
            for streams in (self._paths, self._bodies, self._waiting):
                streams.pop(event.stream_id, None)
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            for stream, response in list(self._waiting.items()):
                self._respond(stream, response)
        elif isinstance(event, ConnectionTerminated):
            self._draining = True

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._calls.discard(task)
        self._end_if_drained()

    async def _carry_out(self, stream: int, path: str, body: bytes) -> None:
        try:
            response = await self._call(path, _message_of(body))
        except GrpcError as error:
            self._send_status(stream, error.status, str(error))
        except Exception as error:  # noqa: BLE001 - the connection goes on with the next call
            self._failed(error)
            self._send_status(stream, GrpcStatus.INTERNAL, "an unexpected error, which is in the gateway's log")
        else:
            self._respond(stream, b"\0" + len(response).to_bytes(4, "big") + response)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _respond(self, stream: int, framed: bytes) -> None:
        """Send a response, as soon as the client takes so much; it is one frame."""
        if stream not in self._open:
            return
        if self._http2.local_flow_control_window(stream) < len(framed):
            self._waiting[stream] = framed
            return
        self._waiting.pop(stream, None)
        self._open.discard(stream)
        self._http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self._http2.send_data(stream, framed)
        self._http2.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    def _send_status(self, stream: int, status: GrpcStatus, text: str) -> None:
        if stream in self._open:
            self._open.discard(stream)
            head = [(":status", "200"), ("content-type", "application/grpc")]
            trailers = [("grpc-status", str(int(status))), ("grpc-message", text)]
            self._http2.send_headers(stream, [*head, *trailers], end_stream=True)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None and (data := self._http2.data_to_send()):
            self._transport.write(data)

    # Closing.

    def finish(self) -> None:
        """Have the client make no more calls here; the connection ends when there are none in flight.

        The first GOAWAY names no stream, since calls may be on their way (RFC 9113 section 6.8).
        """
        if self._transport is not None and not self._draining:
            self._draining = True
            self._transport.write(GoAwayFrame(last_stream_id=_EVERY_STREAM).serialize())
            self._loop.call_later(_LAST_WAIT, self._end_if_drained)

    def _end_if_drained(self) -> None:
        if self._draining and not (self._calls or self._paths or self._waiting):
            self._end()

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def _message_of(body: bytes) -> bytes:
    """The one message of a request.

    Raises:
        GrpcError: it is compressed, larger than allowed, or not one message.
    """
    if body[:1] == b"\1":
        raise GrpcError(GrpcStatus.UNIMPLEMENTED, "compressed messages are not supported")
    length = len(body) - _PREFIX
    if not 0 <= length <= _MAX_MESSAGE or int.from_bytes(body[1:_PREFIX], "big") != length:
        raise GrpcError(GrpcStatus.INVALID_ARGUMENT, "a request is one message of 64 KiB at most")
    return body[_PREFIX:]
