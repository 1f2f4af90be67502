"""`FaultProxy`: a TCP proxy between the gateway and a server, which injects faults on demand."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.reserved_port import ReservedPort


class FaultProxy:
    """Forwards bytes in both directions.

    Attributes:
        port: Where to connect.
        delay: Seconds by which each reply is delayed.
        reset_after: Bytes of the next reply that get through before all connections are reset; None for no reset.
        is_hung: Whether replies disappear while connections stay open.
        replies: Pieces of replies seen.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.delay = 0.0
        self.reset_after: int | None = None
        self.is_hung = False
        self.replies = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def reset(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The connection is closed even if its task is cancelled before it begins."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        self._writers.add(writer)
        task.add_done_callback(lambda _: writer.close())
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(target_writer)
            await asyncio.gather(
                self._forward(reader, target_writer, is_reply=False),
                self._forward(target_reader, writer, is_reply=True),
            )
            target_writer.close()
            self._writers.discard(target_writer)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if is_reply:
                    self.replies += 1
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    if self.is_hung:
                        continue
                    if self.reset_after is not None:
                        writer.write(data[: self.reset_after])
                        await writer.drain()
                        self.reset_after = None
                        # Let what was written leave before the reset follows it.
                        await asyncio.sleep(0.01)
                        self.reset()
                        return
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def fault_proxy(target: int) -> AsyncIterator[FaultProxy]:
    """A sound cable to a port."""
    with ReservedPort() as port:
        proxy = FaultProxy(port.number, target)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.cut()
