"""`RequestParser`: the bytes that a client sends, taken apart into requests."""

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong, TransferEncodingError
from aiohttp.http_parser import RawRequestMessage

from gateway.proxy.responses import BAD_REQUEST, HEAD_TOO_LARGE, Response
from gateway.settings.intake import Intake

Parsed = tuple[RawRequestMessage, StreamReader]

_BUFFER = 65_536
"""Bytes kept of a body for an upstream that is slow to take them, and of what follows a request to switch."""

_MOST_QUEUED = 32
_LOW_WATER = 16
"""Requests in the queue at which reading goes on, after there were too many."""


class UnsafeParserError(RuntimeError):
    """aiohttp came without its C parser; the one in Python accepts malformed requests."""


def require_c_parser() -> None:
    """Refuse to work without aiohttp's C parser.

    Raises:
        UnsafeParserError: it is missing or turned off.
    """
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise UnsafeParserError(
            "aiohttp runs without its C parser, and the one in Python accepts requests that can be smuggled; "
            "unset AIOHTTP_NO_EXTENSIONS and install aiohttp from a wheel"
        )


def is_last(message: RawRequestMessage) -> bool:
    """Whether nothing behind a request can be read as another.

    HTTP/1.0 has no reliable way to say that a connection persists (RFC 9112 appendix C.2.2). Behind a request to
    switch protocols the client may have begun to speak the other one, whatever we answer (RFC 9931).
    """
    return message.should_close or message.upgrade or message.version != HttpVersion11


class RequestParser(BaseProtocol):
    """Reads requests with aiohttp's parser (llhttp), and keeps them until their turn comes.

    The parser is made to stop behind each request, so that one that cannot be read does not cost the good ones before
    it their responses; and nothing is read behind one that is the last of its connection, or could not be read.
    Reading the transport pauses when a body, the queue or the tail holds enough.

    Args:
        loop: Runs what waits for bodies.
        intake: What is taken from clients.

    Attributes:
        queue: Requests that wait for their turn; their bodies may still come.
        begun: Whether a part of a head has come by itself.
        done: Whether no more requests are read.
        refusal: The response to what could not be read, once the requests before it have theirs.
    """

    __slots__ = (
        "_body",
        "_body_is_full",
        "_content",
        "_head_size",
        "_http",
        "_last",
        "_most",
        "_on_data",
        "_queue_is_full",
        "_silence",
        "_tail",
        "begun",
        "done",
        "queue",
        "refusal",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, intake: Intake) -> None:
        super().__init__(loop)
        self._http = HttpRequestParser(
            self,
            loop,
            _BUFFER,
            max_line_size=intake.max_line,
            max_field_size=intake.max_header,
            max_headers=intake.max_headers,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,  # stop behind each request
        )
        self._most = intake.max_head
        self._head_size = 0  # of the head that has begun to come, as far as it has
        self._body: StreamReader | None = None  # of the request that is being read; None in front of a head
        self._last: RawRequestMessage | None = None
        self._content = 0  # bytes of that body, as far as it has come
        self._silence = 0  # bytes that have come since, and were none of it
        self._tail: bytes | None = None  # what follows a request to switch protocols; None if there is no such request
        self._on_data: Callable[[bytes], None] | None = None
        self._body_is_full = False
        self._queue_is_full = False  # or the tail
        self.queue: deque[Parsed] = deque()
        self.begun = False
        self.done = False
        self.refusal: Response | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes as they came; or none, to go on with those that the parser has kept back."""
        if self._on_data is not None:
            self._on_data(data)
            return
        if self._tail is not None:
            self._tail += data
        elif not self.done:
            self._parse(data)
        if not self._queue_is_full and self._is_full():
            self._queue_is_full = True
            if self.transport is not None:
                self.transport.pause_reading()

    def pop(self) -> Parsed:
        """The next request."""
        request = self.queue.popleft()
        if self._queue_is_full and len(self.queue) <= _LOW_WATER:
            self.data_received(b"")  # which may fill the queue again
            self._resume_if_drained()
        return request

    def switch(self, on_data: Callable[[bytes], None]) -> None:
        """Have `on_data` called with all bytes that follow the last request."""
        tail, self._tail = self._tail, None
        self._on_data = on_data
        if tail:
            on_data(tail)
        self._resume_if_drained()

    def pause_reading(self) -> None:
        """A body holds enough; aiohttp calls this."""
        self._body_is_full = True
        self._http.pause_reading()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """A body has room again, or is complete; aiohttp calls this."""
        self._body_is_full = False
        if resume_parser and not self.done:
            self.data_received(b"")
        self._resume_if_drained()

    def _resume_if_drained(self) -> None:
        self._queue_is_full = self._queue_is_full and self._is_full()
        if not (self._body_is_full or self._queue_is_full) and self.transport is not None:
            self.transport.resume_reading()

    def _is_full(self) -> bool:
        return len(self.queue) >= _MOST_QUEUED or (self._tail is not None and len(self._tail) >= _BUFFER)

    def _parse(self, data: bytes) -> None:
        try:
            self._read(data)
        except HttpProcessingError as error:
            self.stop(HEAD_TOO_LARGE if isinstance(error, LineTooLong) else BAD_REQUEST)

    def _read(self, data: bytes) -> None:
        queue = self.queue
        seen = self._head_size + len(data)
        while True:
            messages, _, _ = self._http.feed_data(data)
            if messages:
                self._take(*messages[0], seen)
                queue.append(messages[0])
            if self._body is None:
                break
            if not self._body.is_eof():
                self._weigh(self._body.total_bytes, len(data))
                return
            self._body = None
            if self._last is not None:
                self._end(self._last)
                return
            if len(queue) >= _MOST_QUEUED:
                return
            data = b""
        if data:
            self.begun = True
            self._head_size = seen
            if seen > self._most:
                raise LineTooLong(b"", self._most)

    def _take(self, message: RawRequestMessage, body: StreamReader, seen: int) -> None:
        if seen > self._most and sum(len(name) + len(value) + 4 for name, value in message.raw_headers) > self._most:
            raise LineTooLong(b"", self._most)
        self._head_size = 0
        self.begun = False
        self._body = body
        self._content = -1
        if is_last(message):
            self._last = message

    def _weigh(self, content: int, size: int) -> None:
        """Refuse a body that goes on and on without content: extensions of a chunk, zeros in front of its size."""
        if content != self._content:
            self._content, self._silence = content, 0
            return
        self._silence += size
        if self._silence > self._most:
            raise TransferEncodingError("no content")

    def _end(self, last: RawRequestMessage) -> None:
        self.done = True
        if last.upgrade:
            _, _, self._tail = self._http.feed_data(b"")

    def stop(self, answer: Response) -> None:
        """Read no further. A body that is not whole by now will not become so."""
        self.done = True
        if self._body is None:
            self.refusal = answer
        else:
            self._body.set_exception(web.RequestPayloadError("the body's framing is broken"))

    def in_body(self) -> bool:
        """Whether a body has begun and not ended."""
        return self._body is not None and not self._body.is_eof()

    def holds_part_of_a_head(self) -> bool:
        """Whether a head has begun. It may have come behind the request before, so only the parser knows.

        It is of no use any more if one has.
        """
        try:
            return self._http.feed_eof() is not None
        except HttpProcessingError:
            return True
