"""`RequestParser`: parses the bytes that a client sends into requests."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong, TransferEncodingError
from aiohttp.http_parser import HttpRequestParserPy

from gateway.config.operator_error import OperatorError
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.body_flow import BodyFlow
from gateway.proxy.request_message import RequestMessage
from gateway.settings.intake import Intake

Parsed = tuple[RequestMessage, StreamReader]

_BUFFER: Final = 65_536
"""Bytes to buffer of a body while the upstream is slow, and of what follows a request to switch protocols."""

_TOO_MANY_HEADERS: Final = "Too many headers received"
"""The message of aiohttp's error, which has no class of its own."""

_MAX_QUEUED: Final = 32
_RESUME_AT: Final = 16
"""Length of the queue at which reading stops, and at which it resumes."""


class UnsafeParserError(OperatorError):
    """aiohttp was installed without its C parser, and the one in Python accepts malformed requests."""


def require_c_parser() -> None:
    """Check that aiohttp has its C parser.

    Raises:
        UnsafeParserError: the C parser is missing or turned off.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise UnsafeParserError(
            "aiohttp runs without its C parser, and the one in Python accepts requests that can be smuggled; "
            "unset AIOHTTP_NO_EXTENSIONS and install aiohttp from a wheel"
        )


class RequestParser:
    """Parses requests with aiohttp's C parser (llhttp), and queues them.

    The parser stops after each request, so that a malformed request does not cost the valid ones before it their
    responses. It stops for good after the last request of the connection, and at a malformed one.
    Reading from the transport is paused while a body, the queue or the tail is full.

    Args:
        loop: The event loop.
        intake: Limits on heads.

    Attributes:
        queue: Requests to be handled; the body of the last one may be incomplete.
        begun: Whether only a part of a head has arrived.
        done: Whether no more requests are parsed.
        refusal: The response to a malformed request, to be sent after those to the requests before it.
    """

    __slots__ = (
        "_body",
        "_body_is_full",
        "_content",
        "_flow",
        "_head_size",
        "_http",
        "_is_held",
        "_last",
        "_max_head",
        "_max_target",
        "_on_data",
        "_parser_max_target",
        "_queue_is_full",
        "_silence",
        "_tail",
        "_transport",
        "begun",
        "done",
        "queue",
        "refusal",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, intake: Intake) -> None:
        self._max_target = min(intake.max_line, intake.max_head)
        # The parser's error tells a target from a header only by the limit that was exceeded, so the two must differ.
        self._parser_max_target = self._max_target + (self._max_target == intake.max_header)
        self._flow = BodyFlow(loop, self._pause_for_body, self._resume_for_body)
        # Any: its C parser returns an empty tuple, where its annotation says a list.
        self._http: Any = HttpRequestParser(
            self._flow,
            loop,
            _BUFFER,
            max_line_size=self._parser_max_target,
            max_field_size=intake.max_header,
            max_headers=intake.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,  # stop after each request
        )
        self._max_head = intake.max_head
        self._head_size = 0  # bytes of an incomplete head
        self._body: StreamReader | None = None  # of the current request; None before a head
        self._last: RequestMessage | None = None
        self._content = 0  # bytes of that body so far
        self._silence = 0  # bytes since then that were not content
        self._tail: bytes | None = None  # what follows a request to switch protocols; None without one
        self._on_data: Callable[[bytes], None] | None = None
        self._body_is_full = False
        self._queue_is_full = False  # or the tail
        self._is_held = False
        self.queue: deque[Parsed] = deque()
        self.begun = False
        self.done = False
        self.refusal: BadRequest | None = None
        self._transport: asyncio.Transport | None = None

    def attach(self, transport: asyncio.Transport | None) -> None:
        """Read from a connection; None when it is lost."""
        self._transport = self._flow.transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse bytes; or none, to go on with those that the parser has kept."""
        if self._on_data is not None:
            self._on_data(data)
            return
        if self._tail is not None:
            self._tail += data
        elif not self.done:
            self._parse(data)
        if (len(self.queue) >= _MAX_QUEUED or self._tail) and not self._queue_is_full and self._is_full():
            self._queue_is_full = True
            if self._transport is not None:
                self._transport.pause_reading()

    def pop(self) -> Parsed:
        """Take the next request from the queue."""
        request = self.queue.popleft()
        if self._queue_is_full and len(self.queue) <= _RESUME_AT:
            self.data_received(b"")  # which may fill the queue again
            self._resume_if_drained()
        return request

    def switch(self, on_data: Callable[[bytes], None]) -> None:
        """Pass all bytes after the last request to `on_data`."""
        tail, self._tail = self._tail, None
        self._on_data = on_data
        if tail:
            on_data(tail)
        self._resume_if_drained()

    def _pause_for_body(self) -> None:
        self._body_is_full = True
        self._http.pause_reading()
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume_for_body(self, resume_parser: bool) -> None:
        self._body_is_full = False
        if resume_parser and not self.done:
            self.data_received(b"")
        self._resume_if_drained()

    def hold(self, held: bool) -> None:
        """Stop reading while what has been read of a body waits for the upstream to take it; or go on."""
        if held is self._is_held:
            return
        self._is_held = held
        if not held:
            self._resume_if_drained()
        elif self._transport is not None:
            self._transport.pause_reading()

    def _resume_if_drained(self) -> None:
        self._queue_is_full = self._queue_is_full and self._is_full()
        if not (self._body_is_full or self._queue_is_full or self._is_held) and self._transport is not None:
            self._transport.resume_reading()

    def _is_full(self) -> bool:
        return len(self.queue) >= _MAX_QUEUED or (self._tail is not None and len(self._tail) >= _BUFFER)

    def _parse(self, data: bytes) -> None:
        try:
            self._read(data)
        except LineTooLong as error:
            is_target = error.args[1] == self._parser_max_target
            self.stop(BadRequest.TARGET_TOO_LONG if is_target else BadRequest.HEAD_TOO_LARGE)
        except HttpProcessingError as error:
            too_many = error.message == _TOO_MANY_HEADERS
            self.stop(BadRequest.HEAD_TOO_LARGE if too_many else BadRequest.UNREADABLE)

    def _read(self, data: bytes) -> None:
        queue = self.queue
        seen = self._head_size + len(data)
        while True:
            messages, _, _ = self._http.feed_data(data)
            if messages:
                parsed, body = messages[0]
                message = RequestMessage(parsed)
                self._take(message, body, seen)
                queue.append((message, body))
            if self._body is None:
                break
            if not self._body.is_eof():
                self._check_progress(self._body.total_bytes, len(data))
                return
            self._body = None
            if self._last is not None:
                self._end(self._last)
                return
            if len(queue) >= _MAX_QUEUED:
                return
            data = b""
        if data:
            self.begun = self.begun or bool(data.strip(b"\r\n"))  # empty lines before a head are not part of it
            self._head_size = seen
            if seen > self._max_head:
                raise LineTooLong(b"")

    def _take(self, message: RequestMessage, body: StreamReader, seen: int) -> None:
        if len(message.target) > self._max_target:
            raise LineTooLong(b"", self._parser_max_target)
        if seen > self._max_head and message.head_size > self._max_head:
            raise LineTooLong(b"")
        self._head_size = 0
        self.begun = False
        self._body = body
        self._content = -1
        if message.is_last:
            self._last = message

    def _check_progress(self, content: int, size: int) -> None:
        """Reject a body that goes on without content: chunk extensions, or leading zeros of a chunk size."""
        if content != self._content:
            self._content, self._silence = content, 0
            return
        self._silence += size
        if self._silence > self._max_head:
            raise TransferEncodingError("no content")

    def _end(self, last: RequestMessage) -> None:
        self.done = True
        if last.upgrade:
            _, _, self._tail = self._http.feed_data(b"")

    def stop(self, refusal: BadRequest) -> None:
        """Parse no more. A body that is incomplete stays so."""
        self.done = True
        if self._body is None:
            self.refusal = refusal
        else:
            self._body.set_exception(web.RequestPayloadError("the body's framing is broken"))

    def in_body(self) -> bool:
        """Whether a body is incomplete."""
        return self._body is not None and not self._body.is_eof()

    def holds_part_of_a_head(self) -> bool:
        """Whether a part of a head has arrived, which only the parser knows if it came with the request before.

        If so, the parser cannot be used any more.
        """
        try:
            return self._http.feed_eof() is not None
        except HttpProcessingError:
            return True
