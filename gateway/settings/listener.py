"""`Listener`: an address that the gateway listens on."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from gateway.limits.address import Network, Unix, parse_address
from gateway.settings.url import HostPort

BACKLOG = 4096
"""Connections that may wait to be accepted, if the kernel allows so many (net.core.somaxconn)."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate that a listener presents, and those that it takes, in PEM.

    Attributes:
        certificate: The certificate, followed by its chain.
        key: Its private key.
        client_ca: Certificates of the authorities by which clients' certificates have to be signed, perhaps with their
            revocation lists; without it, clients are not asked for one. Of `listen` only.
        client_certificate: `required` refuses connections without one. `optional` refuses only those with one that is
            not valid.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificate: Literal["required", "optional"] = "required"


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on.

    Attributes:
        host: An address or name; an IPv6 address without brackets.
        port: 0 for any free port.
        tls: The certificate to serve TLS with; plain HTTP without it.
        ipv6_only: With `::` as the host, `false` accepts IPv4 connections as well.
        unix: The path of a Unix socket to listen on instead; it starts with `/`.
        mode: The permissions of that socket. Who may write to it may connect.
        proxy_protocol: Networks of load balancers that begin each connection with the PROXY protocol's header, version
            1 or 2, which says whom it comes from; `[unix]` on a Unix socket. A connection from there without the header
            is refused, and so is one with it from anywhere else. Of `listen` only.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: Tls | None = None
    ipv6_only: bool = True
    unix: str | None = None
    mode: int = 0o660
    proxy_protocol: tuple[Network | Unix, ...] = ()

    @property
    def address(self) -> str:
        """``host:port``, or ``unix:/path``."""
        return f"unix:{self.unix}" if self.unix else str(HostPort(self.host, self.port))

    def overlaps(self, other: "Listener") -> bool:
        """Whether only one of the two can be listened on, as far as addresses tell: a name may stand for any."""
        if self.unix or other.unix:
            return self.unix == other.unix
        if self.port != other.port:
            return False
        if self.host == other.host:
            return True
        return self.port != 0 and (_includes(self, other) or _includes(other, self))

    def __str__(self) -> str:
        proxies = f", PROXY protocol from {', '.join(map(str, self.proxy_protocol))}" if self.proxy_protocol else ""
        tls = ", TLS" if self.tls else ""
        if self.tls and self.tls.client_ca:
            tls += f", client certificates {self.tls.client_certificate}"
        return f"{self.address}{tls}{proxies}"


def _includes(one: Listener, other: Listener) -> bool:
    """Whether `one` is every address of a family, and `other` an address of that family."""
    mine, theirs = parse_address(one.host), parse_address(other.host)
    if mine is None or theirs is None or not mine.is_unspecified:
        return False
    both = isinstance(mine, IPv6Address) and not one.ipv6_only
    return both or isinstance(mine, IPv4Address) is isinstance(theirs, IPv4Address)
