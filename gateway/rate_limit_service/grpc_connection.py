"""`GrpcConnection`: a connection of HTTP/2 on which unary gRPC calls come in.

A call is one message each way, and a status in the trailers of the response.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.rate_limit_service import http2
from gateway.rate_limit_service.grpc_message import MAX_FRAMED, GrpcError, GrpcStatus, frame_message, read_message
from gateway.rate_limit_service.header_reader import HeaderReader
from gateway.rate_limit_service.http2 import ErrorCode, Frame, FrameReader, Http2Error

_MAX_HEADERS = 65_536
"""Bytes of a request's headers."""

_MAX_CALLS = 1_000
"""Calls in flight on a connection, those that the client has given up included."""

_LAST_WAIT = 1.0
"""Seconds in which calls that are on their way arrive when the connection is to end."""

_REPLENISH = 32_768
"""Bytes after which the client is told that it may send as many again."""

_HEAD = http2.encode_headers((b":status", b"200"), (b"content-type", b"application/grpc"))
_TRAILERS = http2.encode_headers((b"grpc-status", b"0"))


Call = Callable[[str, bytes], Awaitable[bytes]]
"""Carries out a call: from the path of its method and the message to the response's message; raises `GrpcError`."""


class _Stream:
    """A call that the client has not been answered."""

    __slots__ = ("body", "ended", "path", "response", "window")

    def __init__(self, path: str, window: int) -> None:
        self.path = path
        self.window = window
        self.body = b""
        self.ended = False
        self.response: bytes | None = None


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
        self._reader = FrameReader()
        self._headers = HeaderReader(_MAX_HEADERS)
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._last = 0  # the last stream that the client has opened
        self._block: tuple[Frame, bytes] | None = None  # headers that CONTINUATION frames complete
        self._window = self._stream_window = http2.INITIAL_WINDOW
        self._received = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._out: list[bytes] = []
        self._ending = False  # once there is no call in flight
        self._takers = {
            http2.DATA: self._take_data,
            http2.HEADERS: self._take_head,
            http2.RST_STREAM: self._take_reset,
            http2.SETTINGS: self._take_settings,
            http2.PUSH_PROMISE: _refuse,
            http2.PING: self._take_ping,
            http2.GOAWAY: self._take_goaway,
            http2.WINDOW_UPDATE: self._take_window_update,
            http2.CONTINUATION: _refuse,
        }

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # it is one
        """Begin, if the peer is admitted."""
        if not self._opened(self, transport):
            transport.close()
            return
        self._transport = transport
        transport.write(http2.encode_settings(_MAX_CALLS, _MAX_HEADERS))

    def connection_lost(self, _exc: Exception | None) -> None:
        """The connection is closed, by either side."""
        if self._transport is not None:
            self._transport = None
            self._streams.clear()
            self._closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._transport is None:
            return
        try:
            for frame in self._reader.read(data):
                self._handle(frame)
        except Http2Error as error:
            self._end(error.code)
            return
        if self._received >= _REPLENISH:
            self._send(http2.encode_frame(http2.WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0

    # Frames.

    def _handle(self, frame: Frame) -> None:
        if self._block is not None:
            self._continue(frame)
        elif (take := self._takers.get(frame.kind)) is not None:
            take(frame)

    def _take_head(self, frame: Frame) -> None:
        if frame.flags & http2.END_HEADERS:
            self._take_headers(frame, http2.content_of(frame))
        else:
            self._block = frame, http2.content_of(frame)

    def _continue(self, frame: Frame) -> None:
        """Headers go on."""
        assert self._block is not None  # noqa: S101 - the caller has looked
        first, block = self._block
        _check(frame.kind == http2.CONTINUATION and frame.stream == first.stream)
        block += frame.payload
        _check(len(block) <= _MAX_HEADERS, ErrorCode.ENHANCE_YOUR_CALM)
        self._block = first, block
        if frame.flags & http2.END_HEADERS:
            self._block = None
            self._take_headers(first, block)

    def _take_headers(self, frame: Frame, block: bytes) -> None:
        """A call begins, or its trailers end it."""
        stream, ends = frame.stream, bool(frame.flags & http2.END_STREAM)
        path = self._headers.path(block)  # whatever becomes of it: later blocks refer to this one
        known = self._streams.get(stream)
        if known is not None:
            _check(ends and not known.ended)
        else:
            _check(stream % 2 == 1)
            _check(stream > self._last, ErrorCode.STREAM_CLOSED)
            self._last = stream
            if len(self._calls) >= _MAX_CALLS or len(self._streams) >= _MAX_CALLS:
                code = ErrorCode.REFUSED_STREAM.to_bytes(4, "big")
                self._send(http2.encode_frame(http2.RST_STREAM, 0, stream, code))
                return
            known = self._streams[stream] = _Stream(path, self._stream_window)
        if ends:
            self._begin(stream, known)

    def _take_data(self, frame: Frame) -> None:
        stream = frame.stream
        _check(0 < stream <= self._last)
        self._received += len(frame.payload)
        known = self._streams.get(stream)
        if known is None:
            return  # it was refused, or given up
        _check(not known.ended, ErrorCode.STREAM_CLOSED)
        content = http2.content_of(frame)
        if len(known.body) <= MAX_FRAMED:
            known.body += content
        if frame.flags & http2.END_STREAM:
            self._begin(stream, known)
        elif frame.payload:
            self._send(http2.encode_frame(http2.WINDOW_UPDATE, 0, stream, len(frame.payload).to_bytes(4, "big")))

    def _take_settings(self, frame: Frame) -> None:
        _check(frame.stream == 0)
        if frame.flags & http2.ACK:
            return
        window = http2.read_initial_window(frame.payload)
        if window is not None:
            added, self._stream_window = window - self._stream_window, window
            for known in self._streams.values():
                known.window += added
        self._send(http2.encode_frame(http2.SETTINGS, http2.ACK, 0))
        self._send_waiting()

    def _take_window_update(self, frame: Frame) -> None:
        """The client takes so many bytes more."""
        _check(len(frame.payload) == 4, ErrorCode.FRAME_SIZE_ERROR)  # noqa: PLR2004 - a number of 32 bits
        added = int.from_bytes(frame.payload, "big") & http2.MAX_WINDOW
        _check(added > 0 and frame.stream <= self._last)
        known = self._streams.get(frame.stream)
        if frame.stream == 0:
            self._window += added
            _check(self._window <= http2.MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR)
        elif known is not None:
            known.window += added
            _check(known.window <= http2.MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR)
        self._send_waiting()

    def _take_ping(self, frame: Frame) -> None:
        _check(len(frame.payload) == 8, ErrorCode.FRAME_SIZE_ERROR)  # noqa: PLR2004 - any eight bytes
        _check(frame.stream == 0)
        if not frame.flags & http2.ACK:
            self._send(http2.encode_frame(http2.PING, http2.ACK, 0, frame.payload))

    def _take_reset(self, frame: Frame) -> None:
        """The client gives up a call. It is carried out all the same, and counts until then."""
        _check(0 < frame.stream <= self._last)
        self._streams.pop(frame.stream, None)

    def _take_goaway(self, _frame: Frame) -> None:
        """The client makes no more calls."""
        self._end_when_idle()

    # Calls.

    def _begin(self, number: int, stream: _Stream) -> None:
        stream.ended = True
        task = self._loop.create_task(self._carry_out(number, stream))
        self._calls.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._calls.discard(task)
        self._end_if_idle()

    async def _carry_out(self, number: int, stream: _Stream) -> None:
        try:
            response = await self._call(stream.path, read_message(stream.body))
        except GrpcError as error:
            self._fail(number, error.status, str(error))
        except Exception as error:  # noqa: BLE001 - the connection goes on with the next call
            self._failed(error)
            self._fail(number, GrpcStatus.INTERNAL, "an unexpected error, which is in the gateway's log")
        else:
            stream.response = frame_message(response)
            self._respond(number, stream)

    def _respond(self, number: int, stream: _Stream) -> None:
        """Send a response, as soon as the client takes so much; it is one frame."""
        response = stream.response
        if response is None or number not in self._streams or min(self._window, stream.window) < len(response):
            return
        del self._streams[number]
        self._window -= len(response)
        self._send(
            http2.encode_frame(http2.HEADERS, http2.END_HEADERS, number, _HEAD)
            + http2.encode_frame(http2.DATA, 0, number, response)
            + http2.encode_frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, number, _TRAILERS)
        )

    def _send_waiting(self) -> None:
        for number, stream in list(self._streams.items()):
            self._respond(number, stream)

    def _fail(self, number: int, status: GrpcStatus, text: str) -> None:
        if self._streams.pop(number, None) is not None:
            why = http2.encode_headers((b"grpc-status", b"%d" % status), (b"grpc-message", text.encode()))
            flags = http2.END_HEADERS | http2.END_STREAM
            self._send(http2.encode_frame(http2.HEADERS, flags, number, _HEAD + why))

    def _send(self, data: bytes) -> None:
        """Write at the end of this iteration of the event loop, with all else that is written in it."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # Closing.

    def finish(self) -> None:
        """Have the client make no more calls here; the connection ends when there are none in flight.

        The GOAWAY names no stream, since calls may be on their way (RFC 9113 section 6.8).
        """
        if self._transport is not None:
            self._go_away(http2.MAX_WINDOW, ErrorCode.NO_ERROR)
            self._loop.call_later(_LAST_WAIT, self._end_when_idle)

    def _end_when_idle(self) -> None:
        self._ending = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._ending and not (self._calls or self._streams):
            self._end(ErrorCode.NO_ERROR)

    def _end(self, code: ErrorCode) -> None:
        if self._transport is not None:
            self._go_away(self._last, code)
            self._flush()
            self._transport.close()

    def _go_away(self, last: int, code: ErrorCode) -> None:
        self._send(http2.encode_frame(http2.GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big")))

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def _check(holds: bool, code: ErrorCode = ErrorCode.PROTOCOL_ERROR) -> None:
    """End the connection unless something holds."""
    if not holds:
        raise Http2Error(code)


def _refuse(_frame: Frame) -> None:
    """A frame that no client may send, or not here."""
    raise Http2Error(ErrorCode.PROTOCOL_ERROR)
