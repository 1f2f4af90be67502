"""`TlsTransport`: TLS over a TCP transport, with backpressure that loses nothing.

An event loop's own TLS goes on reading while its protocol has paused it, and uvloop's throws away what is still
encrypted when the peer closes meanwhile. Here pausing pauses the socket: what was not read stays in the kernel, and so
does the end behind it.

The end of a direction is the peer's close_notify, and nothing else (RFC 8446 section 6.1): a connection that ends
without one was cut off, which the protocol is told as `connection_lost` with an error.
"""

import asyncio
from contextlib import suppress
from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError, SSLZeroReturnError
from typing import Any

_RECORD = 16_384
"""Bytes that one record holds at most (RFC 8446 section 5.1)."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """TLS between a protocol and a TCP transport: a transport to the one, a protocol to the other.

    Each direction ends by itself, as in TCP: a protocol whose `eof_received` returns True can go on writing.

    Args:
        protocol: Told of the connection once the handshake is done.
        context: Certificates, and whom to trust. It should not allow renegotiation.
        server_name: Whom a client wants to speak to; None for a server.
    """

    def __init__(self, protocol: asyncio.Protocol, context: SSLContext, server_name: str | None = None) -> None:
        super().__init__()
        self._protocol = protocol
        self._context = context
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_name is None, server_name)
        self._raw: asyncio.Transport | None = None
        self._ready = asyncio.get_running_loop().create_future()
        self._open = False  # between handshake and the end
        self._paused = False
        self._heard_end = False
        self._told_end = False  # the protocol, which is not told while it has paused
        self._said_end = False
        self._closing = False
        self._failure: Exception | None = None

    async def shake_hands(self) -> None:
        """Wait for the handshake. If it fails, or is not waited for to its end, the connection is closed.

        Raises:
            OSError: the peer does not speak TLS, is not trusted, does not trust us, or is gone.
        """
        try:
            await self._ready
        except BaseException:
            self.abort()
            raise

    # A protocol, to the TCP transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._raw = transport  # type: ignore[assignment] # asyncio hands over a Transport
        self._handshake()

    def data_received(self, data: bytes) -> None:
        """Bytes have come, encrypted."""
        if self._heard_end or self._closing:
            return
        self._incoming.write(data)
        if not self._open:
            self._handshake()
        elif not self._paused:
            self._read()

    def eof_received(self) -> bool:
        """TCP has ended. Returns whether there may still be something to say."""
        if self._heard_end:
            return not self._closing
        if self._said_end:  # neither side waits for anything any more
            self._closing = True
            return False
        self._lose(ConnectionAbortedError("the connection was cut off: it ended without TLS's close_notify"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP is gone."""
        self._raw = None
        if exc is None and not (self._heard_end or self._closing):
            exc = ConnectionAbortedError("the connection is lost")
        failure = self._failure or exc
        self._closing = True
        if self._open:
            self._open = False
            self._protocol.connection_lost(failure)
        elif not self._ready.done():
            self._ready.set_exception(failure or ConnectionAbortedError("closed during the handshake"))
            self._ready.exception()  # whoever waited may have given up

    def pause_writing(self) -> None:
        """The socket takes no more."""
        if self._open:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The socket has caught up."""
        if self._open:
            self._protocol.resume_writing()

    # A transport, to the protocol.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection, as asyncio names it."""
        if name == "sslcontext":
            return self._context
        if name == "ssl_object":
            return self._tls
        return default if self._raw is None else self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing or self._raw is None or self._raw.is_closing()

    def is_reading(self) -> bool:
        """Whether the protocol gets what comes."""
        return not (self._paused or self.is_closing())

    def pause_reading(self) -> None:
        """Leave what comes in the kernel."""
        self._paused = True
        if self._raw is not None and not self.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._paused = False
        if self._raw is not None and not self.is_closing():
            self._raw.resume_reading()
            if self._incoming.pending or self._heard_end:
                asyncio.get_running_loop().call_soon(self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; nothing happens behind the end."""
        if self._said_end or self._raw is None or not data:
            return
        try:
            sent, size = self._tls.write(data), len(data)
            if sent < size:  # a record at a time
                rest = memoryview(data)
                while sent < size:
                    sent += self._tls.write(rest[sent:])
        except SSLError as error:
            self._lose(error)
        else:
            self._raw.write(self._outgoing.read())

    def can_write_eof(self) -> bool:
        """TLS has halves: yes."""
        return True

    def write_eof(self) -> None:
        """Say that nothing follows, and go on reading.

        Raises:
            OSError: the peer is gone.
        """
        if not self._said_end and self._raw is not None:
            self._say_end()
            self._raw.write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes that the socket has not taken yet, encrypted."""
        return 0 if self._raw is None else self._raw.get_write_buffer_size()

    def close(self) -> None:
        """Send what is left, say goodbye and close, without waiting for the peer's goodbye."""
        if not self._closing and self._raw is not None:
            self._closing = True
            self._say_end()
            self._raw.close()

    def abort(self) -> None:
        """Close at once, without a goodbye: the peer knows that something is missing."""
        self._closing = True
        if self._raw is not None:
            self._raw.abort()

    # Within.

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSLWantReadError:
            self._send()
        except SSLError as error:
            self._failure = error
            self._send()  # the alert that says why
            self._closing = True
            if self._raw is not None:
                self._raw.close()
        else:
            self._send()
            if self._ready.done():  # nobody waits for it any more
                return
            self._open = True
            self._ready.set_result(None)
            self._protocol.connection_made(self)
            self._read()

    def _read(self) -> None:
        if self.is_reading() and not self._heard_end:
            self._decrypt()
        if self.is_reading() and self._heard_end and not self._told_end:
            self._told_end = True
            if not self._protocol.eof_received():
                self.close()

    def _decrypt(self) -> None:
        tls, incoming = self._tls, self._incoming
        pieces = []
        failure = None
        try:
            while piece := tls.read(_RECORD):
                pieces.append(piece)
                if not (incoming.pending or tls.pending()):
                    break
            else:
                self._heard_end = True
        except SSLWantReadError:
            pass
        except SSLZeroReturnError:  # what it is when we have said our end before
            self._heard_end = True
        except SSLError as error:
            failure = error
        if self._outgoing.pending:  # keys anew, or an alert
            self._send()
        if pieces:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if failure is not None:
            self._lose(failure)

    def _say_end(self) -> None:
        if self._said_end:
            return
        self._said_end = True
        with suppress(SSLError):  # the peer has not said it yet, or the handshake is not over
            self._tls.unwrap()
        self._send()

    def _send(self) -> None:
        if self._raw is not None and (data := self._outgoing.read()):
            self._raw.write(data)

    def _lose(self, error: Exception) -> None:
        self._failure = error
        self.abort()
