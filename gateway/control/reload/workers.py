"""`Workers`: how the workers of one gateway tell each other something, whichever of them was asked.

Each worker listens on a Unix socket in a folder that the gateway makes before it forks, and that nobody else may enter.
A question is one line of JSON, and so is its answer. A worker that is not there is passed over: its successor finds out
for itself what is in force when it starts, after it has begun to listen.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 10.0
"""Seconds a worker may take to answer; reading thousands of limits takes one."""

_LONGEST_LINE = 1 << 20

Message = dict[str, Any]


class WorkerUnresponsiveError(Exception):
    """A worker that is there gave no answer."""


class Workers:
    """The workers of a gateway, seen by one of them.

    Args:
        folder: Where their sockets are.
        number: Which one this is.
        count: How many there are.
    """

    def __init__(self, folder: Path, number: int, count: int) -> None:
        self._folder = folder
        self._number = number
        self._count = count
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def listening(self, answer: Callable[[Message], Awaitable[Message]]) -> AsyncIterator[None]:
        """Answer the others while the block runs."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, ValueError):
                line = await reader.readline()
                if line:
                    writer.write(json.dumps(await answer(json.loads(line))).encode() + b"\n")
                    await writer.drain()
            writer.close()

        path = self._socket(self._number)
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - of the worker before us
        server = await asyncio.start_unix_server(talk, path, limit=_LONGEST_LINE)
        try:
            yield
        finally:
            server.close()

    async def ask(self, message: Message) -> list[Message]:
        """The answers of all others that are there.

        Raises:
            SiblingError: one that is there gave none in time.
        """
        others = [number for number in range(self._count) if number != self._number]
        answers = await asyncio.gather(*(self._ask(number, message) for number in others))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, number: int, message: Message) -> Message | None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket(number), limit=_LONGEST_LINE)
        except (FileNotFoundError, ConnectionError):
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(json.dumps(message).encode() + b"\n")
                line = await reader.readline()
        except (TimeoutError, ConnectionError, ValueError) as error:
            raise WorkerUnresponsiveError(f"worker {number} gave no answer") from error
        finally:
            writer.close()
        if not line:
            return None  # it has ended meanwhile
        answer: Message = json.loads(line)
        return answer

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Let no other worker have its turn while the block runs. Ends with the process that has it."""
        async with self._turn:  # so that no more than one thread of ours waits for the others
            descriptor = os.open(self._folder / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def _socket(self, number: int) -> str:
        return str(self._folder / f"{number}.sock")
