"""`Crowd`: clients at a steady rate that keep an exact account of what they sent and what they got."""

import asyncio
import random
import time
from collections import Counter, deque
from typing import NamedTuple

_PATIENCE = 30.0
"""Seconds after which an answer is missing."""

_MOMENT = 0.1
"""Seconds in which a worker surely counts a request after its answer has been written, on a busy machine too."""

EXEMPT = "root"
BLOCKED = "mallory"
USERS = [*(f"user{number}" for number in range(200)), EXEMPT, BLOCKED]


class Break(NamedTuple):
    """A request without a whole answer.

    Attributes:
        opened: When its connection was asked for; as `ended`, in seconds of the monotonic clock.
        ended: When it broke.
        why: What the client saw.
    """

    opened: float
    ended: float
    why: str


class _Line:
    """A connection."""

    def __init__(self, opened: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened = opened
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "_Line":
        # Before it stands: a worker may have taken it, and have been killed, before we hear that it stands.
        opened = time.monotonic()
        return cls(opened, *await asyncio.open_connection("127.0.0.1", port))

    @property
    def is_dead(self) -> bool:
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """The answer's status, and whether the connection ends."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self.reader.readexactly(length)
        return int(head[9:12]), b"\r\nconnection: close" in head


class Crowd:
    """The clients.

    Args:
        port: Of the gateway.
        rate: Requests a second, all together.
        seed: Of what they ask.

    Attributes:
        sent: Requests.
        statuses: Of their answers.
        breaks: Those that broke.
        refused: Connections that were not taken, and why.
        slowest: Seconds that the slowest answer took.
    """

    KEPT, NEW = 24, 8

    def __init__(self, port: int, rate: float, seed: int) -> None:
        self._port = port
        self._pause = (self.KEPT + self.NEW) / rate
        self._dice = random.Random(seed)
        self._over = False
        self._under_way = 0
        self._lately: deque[float] = deque(maxlen=1000)
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.breaks: list[Break] = []
        self.refused: list[str] = []
        self.slowest = 0.0

    async def run(self) -> None:
        """Ask until told to end, and then until all answers are there."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.KEPT + self.NEW):
                group.create_task(self._client(keep=number < self.KEPT))

    def end(self) -> None:
        self._over = True

    @property
    def exposed(self) -> int:
        """Requests that a worker has and may not have counted, at this moment."""
        now = time.monotonic()
        return self._under_way + sum(now - answered < _MOMENT for answered in self._lately)

    async def _client(self, *, keep: bool) -> None:
        line: _Line | None = None
        while not self._over:
            # Never as long as a worker on its way out waits for the next request.
            await asyncio.sleep(self._pause * self._dice.uniform(0.5, 1.5))
            if line is None or line.is_dead:
                try:
                    line = await _Line.open(self._port)
                except OSError as error:
                    self.refused.append(repr(error))
                    continue
            if not await self._ask(line) or not keep:
                line.writer.close()
                line = None
        if line is not None:
            line.writer.close()

    async def _ask(self, line: _Line) -> bool:
        """One request. Returns whether there may be another on the same connection."""
        began = time.monotonic()
        self.sent += 1
        self._under_way += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                status, ends = await line.ask(self._request())
        except (OSError, EOFError, TimeoutError) as error:
            self.breaks.append(Break(line.opened, time.monotonic(), repr(error)))
            return False
        finally:
            self._under_way -= 1
        now = time.monotonic()
        self._lately.append(now)
        self.slowest = max(self.slowest, now - began)
        self.statuses[status] += 1
        return not ends

    def _request(self) -> bytes:
        user = self._dice.choice(USERS)
        if self._dice.random() < 0.2:
            line, body = "POST /v1/orders", b'{"article": 4711}'
        else:
            line, body = f"GET /v1/orders/{self._dice.randrange(1000)}", b""
        return (
            f"{line} HTTP/1.1\r\nHost: soak.test\r\nX-User-Id: {user}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
