"""`ResponseParser`: parses upstreams' responses with httptools (llhttp, strict)."""

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.proxy.failure_reason import FailureReason, is_tls
from gateway.proxy.headers import SPECIAL_NAMES
from gateway.proxy.upstream_response import (
    CONTROL_HEADERS,
    WITHOUT_CONTENT,
    AmbiguousFramingError,
    ForwardError,
    Framing,
    RawHeaders,
    ResponseReader,
    announces_content,
    persists,
    read_framing,
    read_keep_alive,
)

_MAX_INTERIM: Final = 16
_MAX_HEADERS: Final = 256
_MAX_OVERHEAD: Final = 65_536
"""Bytes in a row that are not content: of a head, of trailers, of what is between chunks."""

_SWITCHING: Final = 101
_FINAL: Final = 200
_MIN_STATUS: Final = 100
_MAX_STATUS: Final = 599
_NO_CONTENT: Final = 204


class ResponseParser:
    """Passes each response to a `ResponseReader` as it comes.

    Attributes:
        reader: Receives the current response; None when no response is expected.
        reusable: Whether the connection can carry another request once the current response is complete.
        keep_alive: Seconds for which the upstream keeps an idle connection, as it last said; None if it did not.
        switched: Whether the connection has been switched to another protocol.
        progressed: Whether the last bytes completed the head of the final response, or had content.
    """

    __slots__ = (
        "_chunked_head",
        "_control",
        "_framing",
        "_headers",
        "_http",
        "_interim",
        "_may_switch",
        "_method",
        "_overhead",
        "_reason",
        "_status",
        "keep_alive",
        "progressed",
        "reader",
        "reusable",
        "switched",
    )

    def __init__(self) -> None:
        self._http = HttpResponseParser(self)
        self.reader: ResponseReader | None = None
        self.reusable = True
        self.keep_alive: int | None = None
        self.switched = False
        self.progressed = False
        self._begin("", may_switch=False)

    def _begin(self, method: str, *, may_switch: bool) -> None:
        self._method = method
        self._may_switch = may_switch
        self._status = 0
        self._reason = b""
        self._headers: RawHeaders = []
        self._control: RawHeaders = []  # those of them that concern this connection, with lower-case names
        self._chunked_head = False  # of a response to HEAD
        self._framing = Framing.NONE
        self._overhead = 0
        self._interim = 0

    def start(self, method: str, reader: ResponseReader, *, may_switch: bool) -> None:
        """Expect the response to a request."""
        self._begin(method, may_switch=may_switch)
        self.reader = reader

    @property
    def nothing_received(self) -> bool:
        """Whether no byte of the response has come."""
        return self._status == 0 and self._overhead == 0

    @property
    def in_body(self) -> bool:
        """Whether the head of the final response is complete."""
        return self._status >= _FINAL or self.switched

    def feed(self, data: bytes) -> bool:
        """Parse bytes of the response. Returns whether it is complete.

        Raises:
            ForwardError: the response is malformed.
        """
        if self.switched and self.reader is not None:
            self.reader.piece(data)
            self.reader.flush()
            self.progressed = True
            return False
        self.progressed = False
        self._overhead += len(data)
        try:
            self._http.feed_data(data)
            self._check_count(self._headers)
        except HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
        except HttpParserError as error:
            cause = error.__context__  # what one of our callbacks found
            why = cause if isinstance(cause, HttpParserError) else error
            if self._status == 0 and is_tls(data):
                message = "the upstream speaks TLS on this port; write https:// in its URL"
                raise ForwardError(message, reason=FailureReason.TLS_ON_HTTP) from error
            message = f"the upstream's response is malformed: {why}"
            raise ForwardError(message, reason=FailureReason.MALFORMED) from error
        else:
            if self._overhead > _MAX_OVERHEAD and self.reader is not None:
                message = "the head or the trailers of the upstream's response are too large"
                raise ForwardError(message, reason=FailureReason.MALFORMED)
            if self._chunked_head and not data.endswith(b"\r\n\r\n"):
                self.reusable = False  # the beginning of a chunk may have been parsed after the head
        if self.reader is None:
            return True
        self.reader.flush()
        return False

    def feed_eof(self) -> bool:
        """The upstream has closed its half. Returns whether this completes the response.

        It is the end of a tunnel, and of a response without any other framing.
        """
        if self.reader is None or not (self.switched or (self._status >= _FINAL and self._framing is Framing.CLOSE)):
            return False
        self.reusable = False
        self._end(self.reader)
        return True

    def _switch(self, rest: bytes) -> None:
        if self._status != _SWITCHING or self.reader is None:
            message = "the upstream switched protocols without being asked"
            raise ForwardError(message, reason=FailureReason.MALFORMED)
        self.switched = True
        self.reusable = False
        self.reader.upgraded()
        if rest:
            self.reader.piece(rest)

    def _end(self, reader: ResponseReader) -> None:
        self.reader = None
        reader.end()

    # Called by httptools.

    def on_message_begin(self) -> None:
        if self.reader is None or self._status >= _FINAL:
            self.reusable = False  # a second response, without a request
        self._status = 0
        self._headers, self._control = [], []

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status == 0:  # later ones are trailers, which are not forwarded
            self._headers.append((name, value))
            lower = SPECIAL_NAMES.get(name)
            if lower and lower in CONTROL_HEADERS:
                self._control.append((lower, value))

    def on_headers_complete(self) -> None:
        reader = self.reader
        if reader is None:
            return
        status = self._http.get_status_code()
        headers, control, reason = self._headers, self._control, self._reason
        self._check(status, headers)
        self._headers, self._control, self._reason = [], [], b""
        self._status = status
        if status < _FINAL:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise HttpParserError("too many interim responses")
            if status != _SWITCHING:
                reader.interim(status, reason, headers)
                return
            if not self._may_switch:
                raise HttpParserError("it switches protocols without being asked")
        try:
            self._framing, length = read_framing(self._method, status, control, self._http.get_http_version)
        except AmbiguousFramingError as error:
            raise HttpParserError(f"{error} is ambiguous") from error
        self.progressed = True
        if (seconds := read_keep_alive(control)) is not None:
            self.keep_alive = seconds
        if self._method == "HEAD" and status >= _FINAL:
            self._end_at_head(reader, reason, headers, length)
            return
        self.reusable = self._http.should_keep_alive() and self._framing is not Framing.CLOSE
        if status == _NO_CONTENT and announces_content(control):
            self.reusable = False  # if the content comes, it would be taken for the next response
        reader.head(status, reason, headers, self._framing, length)

    def _end_at_head(self, reader: ResponseReader, reason: bytes, headers: RawHeaders, length: bytes) -> None:
        """End a response to HEAD: llhttp does not know the method, and would wait for a body.

        A new parser goes on with the next bytes. The old one goes on with those after the head, if there are any: a
        body that should not be there. Then the connection cannot be used again.
        """
        self.reusable = persists(headers, self._http.get_http_version())
        if self._status not in WITHOUT_CONTENT:  # which llhttp knows itself
            self._chunked_head = any(name.lower() == b"transfer-encoding" for name, _ in headers)
        reader.head(self._status, reason, headers, self._framing, length)
        self._http = HttpResponseParser(self)
        self._end(reader)

    def _check(self, status: int, headers: RawHeaders) -> None:
        if not _MIN_STATUS <= status <= _MAX_STATUS:
            raise HttpParserError("the status code is invalid")
        self._check_count(headers)
        if self._overhead > _MAX_OVERHEAD and sum(len(name) + len(value) for name, value in headers) > _MAX_OVERHEAD:
            raise HttpParserError("the head is too large")

    @staticmethod
    def _check_count(headers: RawHeaders) -> None:
        if len(headers) > _MAX_HEADERS:
            raise HttpParserError("too many headers")

    def on_body(self, data: bytes) -> None:
        if self.reader is not None and self._status < _FINAL:
            # llhttp reads one if an unknown 1xx announces it, and the client would take it for the next response.
            raise HttpParserError("an interim response has a body")
        self._overhead = 0
        if self.reader is not None:
            self.progressed = True
            self.reader.piece(data)
        else:
            self.reusable = False  # a body after a response that has none

    def on_message_complete(self) -> None:
        if self._chunked_head:
            self.reusable = False  # a last chunk after the head of a response to HEAD
        if self.reader is not None and self._status >= _FINAL:
            if not self._http.should_keep_alive():
                self.reusable = False  # llhttp obeys a Connection trailer, and would parse no more
            self._end(self.reader)
