"""A client that moves one long body through a peer, and watches what the peer takes meanwhile."""

import asyncio
import threading
import time
from collections.abc import Callable
from socket import create_connection
from typing import NamedTuple

from benchmarks.kit.machine import usage
from benchmarks.kit.origin import drain, length_of, pour, read_head
from benchmarks.kit.peer import Running


class Flow(NamedTuple):
    """What one body cost.

    Attributes:
        rate: MiB a second.
        cpu: Milliseconds of the peer's processes.
        growth: MiB by which they grew at most while it passed.
    """

    rate: float
    cpu: float
    growth: float


def download(port: int, size: int) -> None:
    with create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % size)
        head, come = read_head(connection)
        if not head.startswith(b"HTTP/1.1 200") or length_of(head) not in (0, size):
            raise RuntimeError(f"it answers {head[:40]!r}")
        drain(connection, size - come)


def upload(port: int, size: int) -> None:
    with create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % size)
        pour(connection, size)
        head, come = read_head(connection)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"it answers {head[:40]!r}")
        drain(connection, length_of(head) - come)


async def flow(peer: Running, move: Callable[[int, int], None], size: int) -> Flow:
    """Move a body of `size` bytes."""
    before, most, done = usage(*peer.leaders), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            most = max(most, usage(*peer.leaders).memory)

    watching, start = asyncio.create_task(asyncio.to_thread(watch)), time.perf_counter()
    try:
        await asyncio.to_thread(move, peer.port, size)
    except OSError as error:
        raise RuntimeError(str(error)) from None
    finally:
        seconds = time.perf_counter() - start
        done.set()
        await watching
    after = usage(*peer.leaders)
    return Flow(size / 2**20 / seconds, (after.cpu - before.cpu) * 1000, max(0, most - before.memory) / 2**20)
