"""`Clients`: send requests at a steady rate, and record exactly what they sent and received."""

import asyncio
import random
import time
from collections import Counter, deque
from typing import NamedTuple

_TIMEOUT = 30.0
"""Seconds after which a response counts as missing."""

_COUNTED_AFTER = 0.1
"""Seconds within which a worker has counted a request after writing the response, on a busy machine too."""

EXEMPT = "root"
BLOCKED = "mallory"
USERS = [*(f"user{number}" for number in range(200)), EXEMPT, BLOCKED]


class BrokenRequest(NamedTuple):
    """A request without a complete response.

    Attributes:
        opened: When its connection was requested; as `ended`, in seconds of the monotonic clock.
        ended: When it broke.
        why: What the client saw.
    """

    opened: float
    ended: float
    why: str


class _Connection:
    """A connection."""

    def __init__(self, opened: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened = opened
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "_Connection":
        # Before it is established: a worker may accept it and be killed before we know that it was accepted.
        opened = time.monotonic()
        return cls(opened, *await asyncio.open_connection("127.0.0.1", port))

    @property
    def is_dead(self) -> bool:
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """Send a request. Returns the response's status, and whether the connection closes."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self.reader.readexactly(length)
        return int(head[9:12]), b"\r\nconnection: close" in head


class Clients:
    """Clients of the gateway.

    Args:
        port: Of the gateway.
        rate: Requests a second, of all together.
        seed: Of their random requests.

    Attributes:
        sent: Requests sent.
        statuses: Of the responses.
        broken: Requests without a complete response.
        refused: Connections that could not be opened, and why.
        slowest: Seconds that the slowest response took.
    """

    KEEP_ALIVE, ONE_SHOT = 24, 8

    def __init__(self, port: int, rate: float, seed: int) -> None:
        self._port = port
        self._pause = (self.KEEP_ALIVE + self.ONE_SHOT) / rate
        self._random = random.Random(seed)
        self._ended = False
        self._in_flight = 0
        self._recent: deque[float] = deque(maxlen=1000)
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.broken: list[BrokenRequest] = []
        self.refused: list[str] = []
        self.slowest = 0.0

    async def run(self) -> None:
        """Send requests until `end` is called, then wait for all responses."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.KEEP_ALIVE + self.ONE_SHOT):
                group.create_task(self._client(keep=number < self.KEEP_ALIVE))

    def end(self) -> None:
        self._ended = True

    @property
    def exposed(self) -> int:
        """Requests that a worker may have received and not counted, at this moment."""
        now = time.monotonic()
        return self._in_flight + sum(now - responded < _COUNTED_AFTER for responded in self._recent)

    async def _client(self, *, keep: bool) -> None:
        connection: _Connection | None = None
        while not self._ended:
            # Always shorter than a draining worker waits for the next request.
            await asyncio.sleep(self._pause * self._random.uniform(0.5, 1.5))
            if connection is None or connection.is_dead:
                try:
                    connection = await _Connection.open(self._port)
                except OSError as error:
                    self.refused.append(repr(error))
                    continue
            if not await self._ask(connection) or not keep:
                connection.writer.close()
                connection = None
        if connection is not None:
            connection.writer.close()

    async def _ask(self, connection: _Connection) -> bool:
        """Send one request. Returns whether the connection can be used again."""
        began = time.monotonic()
        self.sent += 1
        self._in_flight += 1
        try:
            async with asyncio.timeout(_TIMEOUT):
                status, closes = await connection.ask(self._request())
        except (OSError, EOFError, TimeoutError) as error:
            self.broken.append(BrokenRequest(connection.opened, time.monotonic(), repr(error)))
            return False
        finally:
            self._in_flight -= 1
        now = time.monotonic()
        self._recent.append(now)
        self.slowest = max(self.slowest, now - began)
        self.statuses[status] += 1
        return not closes

    def _request(self) -> bytes:
        user = self._random.choice(USERS)
        if self._random.random() < 0.2:
            line, body = "POST /v1/orders", b'{"article": 4711}'
        else:
            line, body = f"GET /v1/orders/{self._random.randrange(1000)}", b""
        return (
            f"{line} HTTP/1.1\r\nHost: soak.test\r\nX-User-Id: {user}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
