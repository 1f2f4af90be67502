"""What an accepted socket tells before it has a transport."""

import asyncio
import select
from socket import socket


async def readable(accepted: socket) -> None:
    """Wait until a socket has bytes to read, or has ended."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(accepted, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(accepted)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def has_ended(accepted: socket) -> bool:
    """Whether the peer has closed the connection, or reset it, whatever it sent before."""
    poll = select.poll()
    poll.register(accepted, select.POLLRDHUP)
    return bool(poll.poll(0))
