"""Both ends of the wire: a raw client, and an upstream that records what it gets and does what it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from weakref import WeakSet

from tests.waiting import DEADLINE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Message:
    """One HTTP message as it stood on the wire."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    raw_head: bytes

    def all(self, name: bytes) -> list[bytes]:
        return [value for field_name, value in self.fields if field_name.lower() == name.lower()]

    def one(self, name: bytes) -> bytes:
        values = self.all(name)
        assert len(values) == 1, (name, self.fields)
        return values[0]

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])


async def read_head(reader: asyncio.StreamReader) -> Message:
    raw = await reader.readuntil(b"\r\n\r\n")
    start, *lines = raw[:-4].split(b"\r\n")
    fields = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
    return Message(start, fields, b"", raw)


async def read_message(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Message:
    """Read a message to the end of its body. Without framing, a request has none and an answer goes on to the close."""
    message = await read_head(reader)
    is_answer = message.start.startswith(b"HTTP/")
    if bodiless or (is_answer and (message.status < 200 or message.status in {204, 304})):
        return message
    if b"chunked" in b",".join(message.all(b"transfer-encoding")).lower():
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append(await reader.readexactly(size))
            assert await reader.readexactly(2) == b"\r\n"
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        message.body = b"".join(pieces)
    elif message.all(b"content-length"):
        message.body = await reader.readexactly(int(message.one(b"content-length")))
    elif is_answer:
        message.body = await reader.read()
    return message


class Client:
    """A connection over which a test says exactly what it means to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, port: int | Path, host: str = "127.0.0.1", **options: object) -> AsyncIterator[Self]:
        """Connect to a port, or to the Unix socket at a path."""
        if isinstance(port, Path):
            reader, writer = await asyncio.open_unix_connection(port, **options)  # type: ignore[arg-type]
        else:
            reader, writer = await asyncio.open_connection(host, port, **options)  # type: ignore[arg-type]
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, bodiless: bool = False) -> Message:
        async with asyncio.timeout(DEADLINE):
            return await read_message(self.reader, bodiless=bodiless)

    async def ask(self, data: bytes) -> Message:
        await self.send(data)
        return await self.answer(bodiless=data.startswith(b"HEAD "))

    async def closed(self) -> bytes:
        """Wait until the other side closes; returns what it still sent."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


async def ask(port: int | Path, data: bytes, host: str = "127.0.0.1") -> Message:
    """One request on a connection of its own."""
    async with Client.connect(port, host) as client:
        return await client.ask(data)


def get(path: str = "/", *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


@dataclass
class Conversation:
    """An upstream's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    upstream: "Upstream"
    number: int

    async def request(self) -> Message:
        """Read the next request, and note it."""
        message = await read_message(self.reader)
        self.upstream.requests.append(message)
        return message

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Conversation], Awaitable[None]]


async def always_ok(talk: Conversation) -> None:
    while True:
        await talk.request()
        await talk.send(OK)


def says(raw: bytes) -> Script:
    """Answers every request with the same bytes."""

    async def script(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.send(raw)

    return script


@dataclass
class Upstream:
    """A server that does what its script says, on a port of its own."""

    port: int = 0
    connections: int = 0
    requests: list[Message] = field(default_factory=list)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    serve: Serve, *, port: int | Path = 0, host: str = "127.0.0.1", **options: object
) -> AsyncIterator[asyncio.Server]:
    """Serve every connection while the block runs; it is closed when `serve` ends, also before it has begun.

    A path instead of a port is that of a Unix socket.
    """
    tasks: set[asyncio.Task[None]] = set()
    writers: WeakSet[asyncio.StreamWriter] = WeakSet()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(run(reader, writer))
        tasks.add(task)
        writers.add(writer)
        task.add_done_callback(lambda _: writer.close())
        task.add_done_callback(tasks.discard)

    if isinstance(port, Path):
        server = await asyncio.start_unix_server(accept, port, limit=2**20, **options)
    else:
        server = await asyncio.start_server(accept, host, port, limit=2**20, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()
        for _ in range(3):  # until what was accepted last has its task
            await asyncio.sleep(0)
        while tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for writer in writers:
            # `close` waits until a client has taken what it was sent. In Python 3.11.2, a TLS transport that was closed
            # twice has nothing left to abort.
            with suppress(AttributeError):
                writer.transport.abort()
        for _ in range(2):  # in which they are closed
            await asyncio.sleep(0)


@asynccontextmanager
async def upstream(
    script: Script = always_ok, *, port: int | Path = 0, host: str = "127.0.0.1", **options: object
) -> AsyncIterator[Upstream]:
    """Serve `script` on every connection while the block runs; see `serving`."""
    served = Upstream()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        await script(Conversation(reader, writer, served, served.connections))

    async with serving(talk, port=port, host=host, **options) as server:
        if not isinstance(port, Path):
            served.port = server.sockets[0].getsockname()[1]
        yield served
