"""`RequestParser`: the bytes that a client sends, taken apart into requests."""

import asyncio
from collections import deque

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong, TransferEncodingError
from aiohttp.http_parser import RawRequestMessage

from gateway.proxy.exchange import is_last
from gateway.proxy.responses import BAD_REQUEST, HEAD_TOO_LARGE, Response
from gateway.settings.intake import Intake

Parsed = tuple[RawRequestMessage, StreamReader]


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


class RequestParser:
    """Reads requests with aiohttp's parser (llhttp).

    The parser is made to stop behind each request, so that one that cannot be read does not cost the good ones before
    it their answers; and nothing is read behind one that is the last of its connection, or could not be read.

    Args:
        connection: Told by the parser and by bodies when they hold enough.
        intake: What is taken from clients.
        buffer: Bytes of a body to hold.

    Attributes:
        parser: aiohttp's.
        begun: Whether a part of a head has come by itself.
        done: Whether nothing more is read.
        refusal: The answer to what could not be read, once the requests before it are answered.
        tail: What stands behind a request to switch protocols; None if there was no such request.
    """

    __slots__ = (
        "_body",
        "_content",
        "_head_size",
        "_last",
        "_most",
        "_silence",
        "begun",
        "done",
        "parser",
        "refusal",
        "tail",
    )

    def __init__(
        self, connection: web.RequestHandler, loop: asyncio.AbstractEventLoop, intake: Intake, buffer: int
    ) -> None:
        self.parser = HttpRequestParser(
            connection,
            loop,
            buffer,
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
        self.begun = False
        self.done = False
        self.refusal: Response | None = None
        self.tail: bytes | None = None

    def read(self, data: bytes, queue: deque[Parsed], most: int) -> None:
        """Read bytes; or none, to go on with those that the parser has kept back.

        Args:
            data: As they came.
            queue: Where requests go.
            most: Requests that it holds when reading stops for now.
        """
        try:
            self._read(data, queue, most)
        except HttpProcessingError as error:
            self.stop(HEAD_TOO_LARGE if isinstance(error, LineTooLong) else BAD_REQUEST)

    def _read(self, data: bytes, queue: deque[Parsed], most: int) -> None:
        seen = self._head_size + len(data)
        while True:
            messages, _, _ = self.parser.feed_data(data)
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
            if len(queue) >= most:
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
            _, _, self.tail = self.parser.feed_data(b"")

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
            return self.parser.feed_eof() is not None
        except HttpProcessingError:
            return True
