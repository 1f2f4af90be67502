"""`Clients`: send requests to a fleet, and note what became of each."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.fleet.fleet import Gateway
from tests.wire import Client, read_message

TIMEOUT = 20.0
"""Seconds after which a response counts as missing."""

OTHERS = "others"
"""Kind of the users who stay below their limits, and must not notice any fault."""

HOT = "hot"
"""Kind of the users who ask far more often than they may."""

_USERS = [f"user{number}" for number in range(100)]
_HOT_USERS = ("hot0", "hot1")
_BODY = b'{"article": 4711}'


@dataclass(slots=True)
class Record:
    """A request, as its client saw it. Instants are seconds of the machine's monotonic clock.

    Attributes:
        id: Its `X-Request-ID`, which is in the upstream's journal and in the access log, too.
        kind: `OTHERS`, `HOT`, or what a fault sends.
        gateway: The name of the gateway it was sent to.
        user: Who sent it.
        method: Its method.
        phase: When it was sent: "calm", "fault" or "after".
        sent: When.
        ended: When the last byte of the response had arrived, or it was given up.
        status: Of the complete response; 0 if there was none.
        why: Why there was none.
    """

    id: str
    kind: str
    gateway: str
    user: str
    method: str
    phase: str
    sent: float
    ended: float = 0.0
    status: int = 0
    why: str = ""


class Clients:
    """All clients of a fleet.

    Args:
        gateways: Where they connect; if one refuses connections, they go to the other.
        seed: Of their random requests.

    Attributes:
        records: Of all requests since `begin`.
        sent: The ids of all requests ever.
        refused: The names of the gateways that refused a connection since then.
        phase: What is noted in new records.
    """

    KEPT, ONE_SHOT, EAGER = 6, 2, 2
    """Connections to each gateway: kept ones, those for one request each, and those of the hot users."""

    PAUSE, EAGER_PAUSE = 0.1, 0.04
    """Seconds between two requests on one of them, on average; always shorter than a draining worker waits."""

    def __init__(self, gateways: tuple[Gateway, Gateway], seed: int) -> None:
        self._gateways = gateways
        self._random = random.Random(seed)
        self._seed = seed
        self._act = 0
        self._number = 0
        self._ended = False
        self.records: list[Record] = []
        self.sent: set[str] = set()
        self.refused: set[str] = set()
        self.phase = ""

    def begin(self) -> None:
        """Forget all records."""
        self._act += 1
        self.records, self.refused = [], set()

    def record(self, kind: str, gateway: Gateway, method: str, user: str) -> Record:
        """A new record, of a request that is sent now."""
        self._number += 1
        name = f"{self._seed}-{self._act}-{self._number}"
        made = Record(name, kind, gateway.name, user, method, self.phase, time.monotonic())
        self.records.append(made)
        self.sent.add(name)
        return made

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Send requests at a steady rate while the block runs, and wait for the last responses."""
        self._ended = False
        async with asyncio.TaskGroup() as group:
            for gateway in self._gateways:
                for number in range(self.KEPT + self.ONE_SHOT):
                    group.create_task(self._client(gateway, self._of_others, self.PAUSE, keep=number < self.KEPT))
                for _ in range(self.EAGER):
                    group.create_task(self._client(gateway, self._of_the_hot, self.EAGER_PAUSE, keep=True))
            try:
                yield
            finally:
                self._ended = True

    @asynccontextmanager
    async def also(
        self, kind: str, requests: "Callable[[], tuple[str, str, bytes]]", pause: float
    ) -> AsyncIterator[None]:
        """Send more requests while the block runs: `requests` returns method, path and body of one."""
        over = asyncio.Event()

        async def client(gateway: Gateway) -> None:
            while not over.is_set():
                await self.ask(kind, gateway, *requests())
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))

        async with asyncio.TaskGroup() as group:
            for gateway in self._gateways:
                group.create_task(client(gateway))
            try:
                yield
            finally:
                over.set()

    async def ask(
        self, kind: str, gateway: Gateway, method: str, path: str, body: bytes = b"", user: str = ""
    ) -> Record:
        """One request on a connection of its own."""
        found = await self._connect(gateway)
        if found is None:
            raise ConnectionRefusedError(f"both gateways refuse connections, {gateway.name} first")
        record = self.record(kind, found[0], method, user or self._random.choice(_USERS))
        await self._exchange(found[1], record, path, body)
        found[1].writer.close()
        return record

    async def _connect(self, home: Gateway) -> tuple[Gateway, Client] | None:
        """Connect to a gateway, or to the other one if it refuses, as a load balancer does."""
        for gateway in (home, *(each for each in self._gateways if each is not home)):
            try:
                return gateway, Client(*await asyncio.open_connection("127.0.0.1", gateway.port))
            except OSError:
                self.refused.add(gateway.name)
        return None

    def _of_others(self) -> tuple[str, str, str, str, bytes]:
        if self._random.random() < 0.3:
            return OTHERS, self._random.choice(_USERS), "POST", "/v1/orders", _BODY
        return OTHERS, self._random.choice(_USERS), "GET", f"/v1/orders/{self._random.randrange(1000)}", b""

    def _of_the_hot(self) -> tuple[str, str, str, str, bytes]:
        return HOT, self._random.choice(_HOT_USERS), "GET", "/v1/orders/7", b""

    async def _client(
        self, home: Gateway, request: Callable[[], tuple[str, str, str, str, bytes]], pause: float, *, keep: bool
    ) -> None:
        gateway, client = home, None
        while not self._ended:
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
            if client is not None and (client.reader.at_eof() or client.reader.exception() is not None):
                client.writer.close()
                client = None
            if client is None:
                found = await self._connect(home)
                if found is None:
                    continue
                gateway, client = found
            kind, user, method, path, body = request()
            goes_on = await self._exchange(client, self.record(kind, gateway, method, user), path, body)
            # A client that was sent to the other gateway goes back as soon as it can.
            if not goes_on or not keep or gateway is not home:
                client.writer.close()
                client = None
        if client is not None:
            client.writer.close()

    async def _exchange(self, client: Client, record: Record, path: str, body: bytes) -> bool:
        """Send a request and note its response. Returns whether the connection can be used again."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await client.send(head(record, path, len(body)) + body)
                message = await read_message(client.reader)
        except (OSError, EOFError, TimeoutError) as error:
            record.ended, record.why = time.monotonic(), repr(error)
            return False
        record.ended = time.monotonic()
        if message.status == 200 and f'"id": "{record.id}"'.encode() not in message.body and path[:7] != "/bytes/":
            record.why = f"it got somebody else's response: {message.body!r:.100}"
            return False
        record.status = message.status
        return not any(value.lower() == b"close" for value in message.all(b"connection"))


def head(record: Record, path: str, length: int) -> bytes:
    """The head of the request that a record is about."""
    lines = [
        f"{record.method} {path} HTTP/1.1",
        "Host: fleet.test",
        f"X-Request-ID: {record.id}",
        f"X-User-Id: {record.user}",
        *([f"Content-Length: {length}"] if length or record.method == "POST" else []),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()
