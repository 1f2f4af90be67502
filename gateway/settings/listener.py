"""`Listener`: an address that the gateway listens on."""

from dataclasses import dataclass
from pathlib import Path

from gateway.settings.url import HostPort

BACKLOG = 4096
"""Connections that may wait to be accepted, if the kernel allows so many (net.core.somaxconn)."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate that a listener presents, in PEM.

    Attributes:
        certificate: The certificate, followed by its chain.
        key: Its private key.
    """

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on.

    Attributes:
        host: An address or name; an IPv6 address without brackets.
        port: 0 for any free port.
        tls: The certificate to serve TLS with; plain HTTP without it.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{HostPort(self.host, self.port)}{', TLS' if self.tls else ''}"
