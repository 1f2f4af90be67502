"""Listening sockets: bound once, before anything else is started, so that a taken port is the first thing said.

Each worker has a socket of its own on each port (SO_REUSEPORT), opened by the process that supervises and held open
by it. A worker that dies takes no waiting connection with it: its successor inherits the socket.
"""

import socket
import ssl

from gateway.config.settings import Listener, Tls

_BACKLOG = 1024


class ListenError(Exception):
    """An address cannot be listened on."""


def bind(listener: Listener, copies: int = 1) -> list[socket.socket]:
    """Open sockets for a listener, one for each worker.

    Raises:
        ListenError: the address is taken, or not ours.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # A probe without SO_REUSEPORT: two gateways must not share a port without knowing.
        probe = _open(family, kind, protocol, address, shared=False)
        if copies == 1:
            probe.listen(_BACKLOG)
            return [probe]
        address = probe.getsockname()
        probe.close()
        sockets = [_open(family, kind, protocol, address, shared=True) for _ in range(copies)]
        for opened in sockets:
            opened.listen(_BACKLOG)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {name(listener.host, listener.port)}: {error.strerror or error}"
        ) from error
    return sockets


def _open(family: int, kind: int, protocol: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened


def name(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """What a listener serves TLS with; None for plain HTTP.

    Raises:
        ListenError: certificate or key cannot be used.
    """
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"cannot serve TLS with {tls.certificate} and {tls.key}: {error}") from error
    return context
