"""`TlsTransport`: TLS over a TCP transport, with backpressure that loses nothing.

An event loop's own TLS goes on reading the socket while its protocol has paused reading. When the peer closes in the
meantime, uvloop's drops the bytes that it has not decrypted yet. Here, pausing pauses the socket: unread bytes stay in
the kernel, and so does the end of the stream after them.

Only a close_notify ends a direction (RFC 8446 section 6.1). A connection that ends without one was truncated, and the
protocol's `connection_lost` gets an error, without `eof_received` before it.
"""

import asyncio
from contextlib import suppress
from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError, SSLZeroReturnError
from typing import Any

from gateway.proxy.unread import read_unread

_RECORD = 16_384
"""Bytes that one record holds at most (RFC 8446 section 5.1)."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """TLS between a protocol and a TCP transport: it is the protocol's transport, and the transport's protocol.

    The directions close separately, as in TCP: a protocol whose `eof_received` returns True can go on writing.

    Args:
        protocol: Its `connection_made` is called when the handshake is complete.
        context: Must have OP_NO_RENEGOTIATION: a write never has to wait for a read then.
        server_name: The name that a client sends (SNI) and verifies; None for a server.
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
        self._connected = False  # from the end of the handshake to connection_lost
        self._paused = False
        self._eof_received = False
        self._eof_reported = False  # to the protocol, but not while it has paused reading
        self._eof_sent = False
        self._closing = False
        self._failure: Exception | None = None

    async def handshake(self) -> None:
        """Wait for the handshake. The connection is closed if it fails, or if this is cancelled.

        Raises:
            OSError: no TLS, no common version, a certificate that is not trusted, or the connection is lost.
        """
        try:
            await self._ready
        except BaseException:
            self.abort()
            raise

    # Called by the TCP transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._raw = transport  # type: ignore[assignment] # asyncio hands over a Transport
        self._continue_handshake()

    def data_received(self, data: bytes) -> None:
        """Encrypted bytes have come."""
        if self._eof_received or self._closing:
            return
        self._incoming.write(data)
        if not self._connected:
            self._continue_handshake()
        elif not self._paused:
            self._read()

    def eof_received(self) -> bool:
        """The peer has closed its half of the TCP connection. Returns whether ours stays open."""
        if self._eof_received:
            return not self._closing
        if self._eof_sent:  # no more is expected
            self._closing = True
        else:
            self._fail(ConnectionAbortedError("truncated: the peer closed the connection without close_notify"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is lost. A failed write closes it at once: what came before is still in the socket."""
        raw, self._raw = self._raw, None
        if exc is not None and raw is not None and self._connected and not (self._closing or self._eof_received):
            for data in read_unread(raw):
                self._incoming.write(data)
            self._decrypt()
        if exc is None and not (self._eof_received or self._closing):
            exc = ConnectionAbortedError("the connection was lost")
        failure = self._failure or exc
        self._closing = True
        if self._connected:
            self._connected = False
            if self._eof_received and not self._eof_reported:
                self._eof_reported = True
                self._protocol.eof_received()
            self._protocol.connection_lost(failure)
        elif not self._ready.done():
            self._ready.set_exception(failure or ConnectionAbortedError("closed during the handshake"))
            self._ready.exception()  # not awaited if connecting was cancelled

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        if self._connected:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        if self._connected:
            self._protocol.resume_writing()

    # Called by the protocol.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Information about the connection, by asyncio's names."""
        if name == "sslcontext":
            return self._context
        if name == "ssl_object":
            return self._tls
        return default if self._raw is None else self._raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing or self._raw is None or self._raw.is_closing()

    def is_reading(self) -> bool:
        """Whether the protocol receives bytes as they come."""
        return not (self._paused or self.is_closing())

    def pause_reading(self) -> None:
        """Leave bytes in the kernel."""
        self._paused = True
        if self._raw is not None and not self.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._paused = False
        if self._raw is not None and not self.is_closing():
            self._raw.resume_reading()
            if self._incoming.pending or self._eof_received:
                asyncio.get_running_loop().call_soon(self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; does nothing if the connection is closed."""
        if self._closing or self._eof_sent or self._raw is None or not data:
            return
        try:
            sent, size = self._tls.write(data), len(data)
            if sent < size:  # a record at a time
                rest = memoryview(data)
                while sent < size:
                    sent += self._tls.write(rest[sent:])
        except SSLError as error:
            self._fail(error)
        else:
            self._raw.write(self._outgoing.read())

    def can_write_eof(self) -> bool:
        """True: close_notify closes one direction."""
        return True

    def write_eof(self) -> None:
        """Close our direction after the bytes written so far, and go on reading.

        Raises:
            OSError: the peer has reset the connection.
        """
        if not self._eof_sent and self._raw is not None:
            self._send_close_notify()
            self._raw.write_eof()

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that the socket has not taken yet."""
        return 0 if self._raw is None else self._raw.get_write_buffer_size()

    def close(self) -> None:
        """Send the bytes written so far and close_notify, then close without waiting for the peer's close_notify."""
        if not self._closing and self._raw is not None:
            self._closing = True
            self._send_close_notify()
            self._raw.close()

    def abort(self) -> None:
        """Close at once, without close_notify, so that the peer knows the stream is truncated."""
        self._closing = True
        if self._raw is not None:
            self._raw.abort()

    # Internals.

    def _continue_handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSLWantReadError:
            self._send()
        except SSLError as error:
            self._failure = error
            self._send()  # the alert with the reason
            self._closing = True
            if self._raw is not None:
                self._raw.close()
        else:
            self._send()
            if self._ready.done():  # cancelled
                return
            self._connected = True
            self._ready.set_result(None)
            self._protocol.connection_made(self)
            self._read()

    def _read(self) -> None:
        if self.is_reading() and not self._eof_received:
            self._decrypt()
        if self.is_reading() and self._eof_received and not self._eof_reported:
            self._eof_reported = True
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
                self._eof_received = True
        except SSLWantReadError:
            pass
        except SSLZeroReturnError:  # close_notify, after ours
            self._eof_received = True
        except SSLError as error:
            failure = error
        if self._outgoing.pending:  # a key update, or an alert
            self._send()
        if pieces:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if failure is not None:
            self._fail(failure)

    def _send_close_notify(self) -> None:
        if self._eof_sent:
            return
        self._eof_sent = True
        with suppress(SSLError):  # ours is sent; the peer's has not come yet
            self._tls.unwrap()
        self._send()

    def _send(self) -> None:
        if self._raw is not None and (data := self._outgoing.read()):
            self._raw.write(data)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.abort()
