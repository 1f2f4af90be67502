"""TLS before a server that was built without it, as stunnel does it: the client has a real TLS connection.

async with tls_front(redis.port, context) as port:
    ... f"rediss://localhost:{port}" ...
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.wire import serving

_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
"""How a client of PostgreSQL asks for TLS (PostgreSQL's documentation, "SSL Session Encryption")."""


@asynccontextmanager
async def tls_front(target: int, context: ssl.SSLContext, *, postgres: bool = False) -> AsyncIterator[int]:
    """Yield a port that speaks TLS and passes on what is in it while the block runs.

    Args:
        target: The server's port.
        context: The server's side of TLS.
        postgres: Whether clients ask for TLS first, as those of PostgreSQL do; others begin with the handshake.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):  # a handshake that failed, which is the client's to tell
            if postgres:
                await _grant(reader, writer, context)
            there, back = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(_carry(reader, back), _carry(there, writer))

    async with serving(serve, ssl=None if postgres else context) as server:
        yield server.sockets[0].getsockname()[1]


async def _grant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    asked = await reader.readexactly(len(_SSL_REQUEST))
    if asked != _SSL_REQUEST:
        raise ConnectionAbortedError(f"no SSLRequest: {asked!r}")
    writer.write(b"S")
    await writer.start_tls(context)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
