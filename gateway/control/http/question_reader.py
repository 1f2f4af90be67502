"""`QuestionReader`: reads the requests of services that need nothing of aiohttp, with httptools (llhttp, strict)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from gateway.control.asker import Service
from gateway.control.http.request import MAX_BODY

_MAX_HEADER: Final = 8190
_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_NOT_HERE: Final = frozenset({b"content-encoding", b"expect", b"origin", b"transfer-encoding", b"upgrade"})
"""Headers that change how a request is read or answered."""

_END: Final = b"\r\n\r\n"
_MOST_HEADS: Final = 8
_LONGEST_HEAD: Final = 2048
"""How many heads are remembered of a connection, and their size in bytes."""


@dataclass(init=False, slots=True)
class Question:
    """A request that was read.

    Attributes:
        service: Whom it asks.
        authorization: The values of its Authorization headers.
        body: Its body.
    """

    service: Final[Service]
    authorization: Final[tuple[str, ...]]
    body: Final[bytes]

    def __init__(self, service: Service, authorization: tuple[str, ...], body: bytes) -> None:
        self.service = service
        self.authorization = authorization
        self.body = body


class QuestionReader:
    """Reads one request after the other, as long as each is of the ordinary form.

    That is a POST in HTTP/1.1 to a service, with its whole head in one piece, a JSON body of a stated length, no header
    twice, and after which the connection goes on. Whatever is not, `is_other` says: it is left to aiohttp, which reads
    it from the start. So nothing is refused here, and nothing is lost.

    A client sends the same head again and again, but for the length of its bodies. What was read of the last few is
    remembered: the same bytes are read in the same way.

    Args:
        services: By the first line of their requests, with the line's end.
        knows_host: Whether the control plane is there under a host.

    Attributes:
        question: The request, once it is complete.
        is_other: Whether it is of another form.
    """

    __slots__ = (
        "_body", "_fields", "_heads", "_http", "_is_in_body", "_known_host", "_knows_host", "_service", "_services",
        "is_other", "question",
    )  # fmt: skip

    def __init__(self, services: Mapping[bytes, Service], knows_host: Callable[[str], bool]) -> None:
        self._services = services
        self._knows_host = knows_host
        self._known_host = b""
        self._http = HttpRequestParser(self)
        self._service: Service | None = None
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._is_in_body = False
        self._heads: dict[bytes, tuple[Service, tuple[str, ...], int]] = {}
        self.question: Question | None = None
        self.is_other = False

    def feed(self, data: bytes) -> None:
        """Read bytes of a request: of the next one, if the last is complete."""
        is_first = not self._is_in_body
        if is_first:
            if self._recognize(data):
                return
            self._forget()
            self._service = self._services.get(data[: data.find(b"\n", 0, 64) + 1])
            if self._service is None:
                self.is_other = True
                return
        try:
            self._http.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.is_other = True
        if not self._is_in_body and self.question is None:  # the head is not complete
            self.is_other = True
        if is_first and not self.is_other and self.question is not None:
            self._remember(data, self.question)

    def _recognize(self, data: bytes) -> bool:
        """Read a request whose head has come before. Returns whether it is one."""
        end = data.find(_END) + len(_END)
        known = self._heads.get(data[:end])
        if known is None:
            return False
        service, authorization, length = known
        if len(data) != end + length:
            return False
        self.question = Question(service, authorization, data[end:])
        return True

    def _remember(self, data: bytes, question: Question) -> None:
        end = data.find(_END) + len(_END)
        if end <= _LONGEST_HEAD and len(data) == end + len(question.body):  # so this is its end for httptools, too
            if len(self._heads) == _MOST_HEADS:
                self._heads.clear()
            self._heads[data[:end]] = (question.service, question.authorization, len(question.body))

    def _forget(self) -> None:
        """Forget the last request. Not in `feed`, in which mypyc would take it for forgotten for good."""
        self.question = None

    # Called by httptools.

    def on_message_begin(self) -> None:
        if self.question is not None:  # another request came with it
            self.is_other = True
        self._fields = {}
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self._fields or name in _NOT_HERE or len(value) > _MAX_HEADER:
            self.is_other = True
        self._fields[name] = value

    def on_headers_complete(self) -> None:
        fields = self._fields
        if (
            fields.get(b"content-type", b"").lower() not in _JSON
            or not 0 < int(fields.get(b"content-length", b"0")) <= MAX_BODY
            or not self._http.should_keep_alive()
            or not self._is_known(fields.get(b"host", b""))
        ):
            self.is_other = True
        self._is_in_body = True

    def _is_known(self, host: bytes) -> bool:
        if host != self._known_host and host and self._knows_host(host.decode("latin-1")):
            self._known_host = host
        return bool(host) and host == self._known_host

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)

    def on_message_complete(self) -> None:
        self._is_in_body = False
        if self._service is None or self.question is not None:
            self.is_other = True
            return
        value = self._fields.get(b"authorization")
        authorization = () if value is None else (value.strip(b" \t").decode(errors="surrogateescape"),)
        self.question = Question(self._service, authorization, b"".join(self._body))
