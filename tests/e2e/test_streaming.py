"""Bodies stream: a gibibyte each way leaves no trace in the process' memory."""

import asyncio

import pytest

from tests.kit.process import gateway
from tests.wire import OK, Client, Conversation, upstream

GIB = 1 << 30
PIECE = b"x" * (1 << 18)
MOST_GROWTH = 80 << 20


async def swallow(reader: asyncio.StreamReader, size: int) -> None:
    while size:
        data = await reader.read(min(size, 1 << 20))
        assert data
        size -= len(data)


async def pour(writer: asyncio.StreamWriter, size: int) -> None:
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_gibibyte_leaves_the_memory_as_it_was(direction: str) -> None:
    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        if direction == "up":
            await swallow(talk.reader, GIB)
            await talk.send(OK)
        else:
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            await pour(talk.writer, GIB)
            await talk.reader.read()

    async with (
        upstream(script) as up,
        gateway("--upstream", f"http://127.0.0.1:{up.port}") as (process, public, _),
        Client.connect(public, limit=1 << 20) as client,
    ):
        await process.says("worker_serving")
        before = process.memory()
        most = before
        done = asyncio.Event()

        async def watch() -> None:
            nonlocal most
            while not done.is_set():
                most = max(most, process.memory())
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        async with asyncio.timeout(120):
            if direction == "up":
                await client.send(b"PUT / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % GIB)
                await pour(client.writer, GIB)
                assert (await client.answer()).status == 200
            else:
                await client.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                await client.reader.readuntil(b"\r\n\r\n")
                await swallow(client.reader, GIB)
        done.set()
        await watching
        assert most - before < MOST_GROWTH
