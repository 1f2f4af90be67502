"""`Upload`: a request's body on its way to the upstream."""

import asyncio

from aiohttp import web

from gateway.config.settings import Upstream
from gateway.proxy.answers import BAD_REQUEST, CONTENT_TOO_LARGE, GATEWAY_TIMEOUT, REQUEST_TIMEOUT
from gateway.proxy.exchange import Exchange
from gateway.proxy.patience import Patience
from gateway.proxy.reader import ForwardError
from gateway.proxy.upstream import UpstreamConnection
from gateway.proxy.witness import Fate, Witness


class Upload:
    """Sends a request's body as it comes, as fast as the upstream takes it.

    A body that is too large, too slow or broken ends the exchange, and the upstream sees no whole request.

    Args:
        exchange: Whose body.
        connection: Where it goes.
        upstream: How long the upstream may take.
        max_body: Bytes that are passed on at most.
        witness: Is told why a body was cut off.
    """

    __slots__ = ("_chunked", "_connection", "_exchange", "_left", "_patience", "_upstream", "_witness")

    def __init__(
        self,
        exchange: Exchange,
        connection: UpstreamConnection,
        upstream: Upstream,
        max_body: int,
        witness: Witness,
    ) -> None:
        intake = exchange.client.intake
        self._exchange = exchange
        self._connection = connection
        self._upstream = upstream
        self._left = max_body
        self._witness = witness
        self._chunked = exchange.message.chunked
        self._patience = Patience(asyncio.get_running_loop().time, intake.body_timeout, intake.least_rate)

    async def run(self) -> None:
        """Send all of it, and wait for the answer from then on."""
        connection, upstream = self._connection, self._upstream
        try:
            while data := await self._read():
                connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
                await self._drain()
        except ForwardError as error:
            if error.fate is Fate.BAD_REQUEST:
                self._exchange.keep_alive = False
            connection.hang_up(error)
        else:
            if self._chunked:
                connection.write(b"0\r\n\r\n")
            connection.expect(upstream.head_timeout, upstream.idle_timeout)

    async def _read(self) -> bytes:
        """The next piece; nothing at the end."""
        try:
            async with asyncio.timeout(self._patience.begin()):
                data = await self._exchange.body.readany()
        except TimeoutError:
            self._witness.rejected("slow_body")
            raise ForwardError("the client stalls in the request's body", REQUEST_TIMEOUT, Fate.BAD_REQUEST) from None
        except (web.RequestPayloadError, OSError, RuntimeError) as error:
            raise ForwardError("the request's body is broken", BAD_REQUEST, Fate.BAD_REQUEST) from error
        self._patience.end(len(data))
        self._left -= len(data)
        if self._left < 0:
            self._witness.rejected("large_body")
            raise ForwardError("the request's body is too large", CONTENT_TOO_LARGE, Fate.BAD_REQUEST)
        return data

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._upstream.idle_timeout):
                await self._connection.drain()
        except TimeoutError:
            raise ForwardError("the upstream does not take the request's body", GATEWAY_TIMEOUT) from None
