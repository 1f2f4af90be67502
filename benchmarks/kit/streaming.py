"""Sends or receives one long body through a peer, and measures what that costs the peer."""

import asyncio
import threading
import time
from collections.abc import Callable
from socket import create_connection
from typing import NamedTuple

from benchmarks.kit.machine import usage
from benchmarks.kit.origin import drain, length_of, pour, read_head
from benchmarks.kit.peer import Running


class StreamingCost(NamedTuple):
    """What one body cost.

    Attributes:
        rate: MiB a second.
        cpu: CPU time of the peer's processes, in milliseconds.
        growth: By how many MiB they grew at most meanwhile.
    """

    rate: float
    cpu: float
    growth: float


def download(port: int, size: int) -> None:
    with create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % size)
        head, received = read_head(connection)
        if not head.startswith(b"HTTP/1.1 200") or length_of(head) not in (0, size):
            raise RuntimeError(f"the response is {head[:40]!r}")
        drain(connection, size - received)


def upload(port: int, size: int) -> None:
    with create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % size)
        pour(connection, size)
        head, received = read_head(connection)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the response is {head[:40]!r}")
        drain(connection, length_of(head) - received)


async def measure_streaming(peer: Running, transfer: Callable[[int, int], None], size: int) -> StreamingCost:
    """Transfer a body of `size` bytes."""
    before, most, done = usage(*peer.leaders), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            most = max(most, usage(*peer.leaders).memory)

    watching, start = asyncio.create_task(asyncio.to_thread(watch)), time.perf_counter()
    try:
        await asyncio.to_thread(transfer, peer.port, size)
    except OSError as error:
        raise RuntimeError(str(error)) from None
    finally:
        seconds = time.perf_counter() - start
        done.set()
        await watching
    after = usage(*peer.leaders)
    return StreamingCost(size / 2**20 / seconds, (after.cpu - before.cpu) * 1000, max(0, most - before.memory) / 2**20)
