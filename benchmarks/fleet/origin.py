"""An upstream that notes each request that it carries out, and misbehaves where a path asks for it.

    python -m benchmarks.fleet.origin PORT JOURNAL

A request is carried out when all of it has arrived. Then a line is appended to the journal before anything is sent:
the instant on the machine's monotonic clock, the request's id, its method, its user and the size of its body.

    /v1/...            responds with a small JSON document that names the request's id
    /bytes/N           N bytes, as fast as they are read
    /shaky/trickle     half a second of small pieces
    /shaky/hang        no response, ever
    /shaky/stall       half a response, and no more of it
    /shaky/torn        half a response, then a reset
    /shaky/reset       a reset instead of a response
    /slow/sip          reads the body slowly: a piece of 64 KiB at a time, with pauses
    /shaky/...         as /v1/...
"""

import asyncio
import contextlib
import json
import os
import struct
import sys
import time
from socket import SO_LINGER, SOL_SOCKET

PIECE = b"x" * 65_536
_LENGTH = 1_000_000
"""What a response that is not completed announces, in bytes."""


class Origin:
    """Serves connections.

    Args:
        journal: The descriptor to append to.
    """

    def __init__(self, journal: int) -> None:
        self._journal = journal

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response. Returns whether another may follow."""
        start, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode().split("\r\n")
        method, path, _ = start.split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = await _discard(reader, fields, slowly=path == "/slow/sip")
        request_id, user = fields.get("x-request-id", "-"), fields.get("x-user-id", "-")
        os.write(self._journal, f"{time.monotonic():.6f} {request_id} {method} {user} {size}\n".encode())
        body = json.dumps({"id": request_id, "received": size}).encode()
        match path:
            case "/shaky/hang":
                await reader.read()
                return False
            case "/shaky/reset":
                _reset(writer)
                return False
            case "/shaky/torn" | "/shaky/stall":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _LENGTH + PIECE)
                await writer.drain()
                if path == "/shaky/stall":
                    await reader.read()
                else:
                    await asyncio.sleep(0.05)
                    _reset(writer)
                return False
            case "/shaky/trickle":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                for at in range(0, len(body), 8):
                    writer.write(body[at : at + 8])
                    await writer.drain()
                    await asyncio.sleep(0.5 * 8 / len(body))
                return True
        if path.startswith("/bytes/"):
            left = int(path.rpartition("/")[2])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
            while left:
                writer.write(PIECE[:left])
                left -= min(left, len(PIECE))
                await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        return True


async def _discard(reader: asyncio.StreamReader, fields: dict[str, str], *, slowly: bool) -> int:
    """Read a request's body, and return its size."""
    if "chunked" in fields.get("transfer-encoding", ""):
        size = 0
        while length := int(await reader.readuntil(b"\r\n"), 16):
            size += length
            await reader.readexactly(length + 2)
        await reader.readexactly(2)
        return size
    size = left = int(fields.get("content-length", 0))
    while left:
        data = await reader.read(min(left, len(PIECE)))
        if not data:
            raise EOFError
        left -= len(data)
        if slowly:
            await asyncio.sleep(0.05)
    return size


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main() -> None:
    origin = Origin(os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    server = await asyncio.start_server(origin.serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
