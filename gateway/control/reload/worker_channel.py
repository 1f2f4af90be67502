"""`Workers`: messages between the workers of one gateway.

Each worker listens on a Unix socket in a folder that the gateway makes before it forks, and that no other user may
enter. A message is one line of JSON, and so is the reply. A worker that is not running is left out: its successor finds
out what is in force when it starts, after it has begun to listen.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

TIMEOUT = 10.0
"""Seconds that a worker may take to reply; reading thousands of limits takes one."""

_MAX_LINE_LENGTH = 1 << 20

Message = dict[str, Any]


class WorkerUnresponsiveError(Exception):
    """A running worker did not reply, or replied that it failed."""


class Workers:
    """The workers of a gateway, as one of them sees them.

    Args:
        folder: Where their sockets are.
        number: Which one this is.
        count: How many there are.

    Attributes:
        folder: As above. Its name is the gateway's, too.
        answers: Reply to messages with this ``do``; `listening`'s handler replies to all others.
    """

    def __init__(self, folder: Path, number: int, count: int) -> None:
        self.folder = folder
        self._number = number
        self._count = count
        self._lock = asyncio.Lock()
        self.answers: dict[str, Callable[[Message], Message]] = {}

    @asynccontextmanager
    async def listening(self, handle: Callable[[Message], Awaitable[Message]]) -> AsyncIterator[None]:
        """Reply to the others while the block runs."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, ValueError):
                line = await reader.readline()
                if line:
                    message = json.loads(line)
                    answer = self.answers.get(message["do"])
                    reply = await handle(message) if answer is None else answer(message)
                    writer.write(json.dumps(reply).encode() + b"\n")
                    await writer.drain()
            writer.close()

        path = self._socket(self._number)
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - the socket of the worker before
        server = await asyncio.start_unix_server(serve, path, limit=_MAX_LINE_LENGTH)
        try:
            yield
        finally:
            server.close()

    async def ask(self, message: Message) -> list[Message]:
        """The replies of all other workers that are running.

        Raises:
            WorkerUnresponsiveError: one of them did not reply in time.
        """
        others = [number for number in range(self._count) if number != self._number]
        replies = await asyncio.gather(*(self._ask(number, message) for number in others))
        return [reply for reply in replies if reply is not None]

    async def _ask(self, number: int, message: Message) -> Message | None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket(number), limit=_MAX_LINE_LENGTH)
        except (FileNotFoundError, ConnectionError):
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                writer.write(json.dumps(message).encode() + b"\n")
                line = await reader.readline()
        except (TimeoutError, ConnectionError, ValueError) as error:
            raise WorkerUnresponsiveError(f"worker {number} did not reply") from error
        finally:
            writer.close()
        if not line:
            return None  # it has stopped meanwhile
        reply: Message = json.loads(line)
        return reply

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold a lock that only one worker can hold, while the block runs. It ends with the process that holds it."""
        async with self._lock:  # so that at most one thread of this process waits for the others
            descriptor = os.open(self.folder / "reload.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def _socket(self, number: int) -> str:
        return str(self.folder / f"{number}.sock")
