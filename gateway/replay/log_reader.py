"""`AccessLogs`: reads access logs, line by line, and says of each line that it cannot parse where it is."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from gateway.config.diagnostic import Diagnostic
from gateway.replay.combined_log import CombinedLog
from gateway.replay.gateway_log import GatewayLog
from gateway.replay.request import BadLineError, LoggedRequest

STDIN = Path("-")
"""Stands for standard input."""

_LONGEST = 65_536
"""Bytes in a line."""

_GZIP = b"\x1f\x8b"
_NAMED = 5
"""Bad lines that are named."""

_BETWEEN_REPORTS = 4_096
"""Lines."""


class LogError(Exception):
    """A log cannot be read. The message is for operators."""


@dataclass(slots=True)
class AccessLogs:
    """Access logs: the gateway's own, or in the common or combined format, plain or compressed with gzip.

    Attributes:
        files: The logs; `STDIN` is one of them.
        own: Parses lines of the gateway's log.
        web: Parses lines of the other formats.
        report: Is told how many bytes have been read, every few thousand lines.
        lines: Lines read.
        requests: Of them, requests.
        others: Of them, lines of the gateway's log that tell of something else.
        bad: Of them, those that could not be parsed.
        named: Where the first of those are, and why.
        has_own: Whether a request came from a gateway's log.
        has_web: Whether a request came from a log of the other formats.
    """

    files: tuple[Path, ...]
    own: GatewayLog
    web: CombinedLog
    report: Callable[[int], object]
    lines: int = 0
    requests: int = 0
    others: int = 0
    bad: int = 0
    named: list[Diagnostic] = field(default_factory=list)
    has_own: bool = False
    has_web: bool = False
    _read: int = 0

    @property
    def size(self) -> int | None:
        """Bytes of all files; None if one of them has no size."""
        try:
            return sum(file.stat().st_size for file in self.files) if STDIN not in self.files else None
        except OSError:
            return None

    def __iter__(self) -> Iterator[Iterator[LoggedRequest]]:
        """The requests of each log.

        They raise `LogError` if a log cannot be opened or read.
        """
        return iter([self._requests(str(file), file) for file in self.files])

    def _requests(self, file: str, path: Path) -> Iterator[LoggedRequest]:
        number, taken, start = 0, 0, 0
        try:
            with _open(path) as raw:
                stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP else raw
                while line := stream.readline(_LONGEST):
                    number += 1
                    taken += len(line)
                    if not number % _BETWEEN_REPORTS:
                        start = self._progress(raw.tell() if raw.seekable() else taken, start)
                    if len(line) == _LONGEST and line[-1:] != b"\n":
                        _skip_line(cast("BinaryIO", stream))
                        self._note(file, number, f"it is longer than {_LONGEST} bytes")
                    elif (request := self._parse(line, file, number)) is not None:
                        self.requests += 1
                        yield request
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.lines += 1
            self._note(file, number + 1, "the compressed data are damaged or cut off here; the rest is not read")
        except OSError as error:
            raise LogError(f"{file} cannot be read: {error.strerror or error}") from error
        finally:
            self.lines += number

    def _parse(self, line: bytes, file: str, number: int) -> LoggedRequest | None:
        text = line.decode(errors="surrogateescape").rstrip("\r\n")
        try:
            if text[:1] == "{":
                request = self.own.parse(text)
                self.has_own = self.has_own or request is not None
                self.others += request is None
                return request
            request = self.web.parse(text)
        except BadLineError as error:
            self._note(file, number, str(error))
            return None
        self.has_web = True
        return request

    def _note(self, file: str, line: int, why: str) -> None:
        self.bad += 1
        if len(self.named) < _NAMED:
            self.named.append(Diagnostic(file, line, 1, "", why))

    def _progress(self, here: int, start: int) -> int:
        self._read += here - start
        self.report(self._read)
        return here


def _open(path: Path) -> BufferedReader:
    return cast("BufferedReader", sys.stdin.buffer) if path == STDIN else path.open("rb")


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(_LONGEST)) and rest[-1:] != b"\n":
        pass
