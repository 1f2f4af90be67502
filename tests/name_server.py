"""A DNS server over UDP on loopback (RFC 1035) that answers, hangs, fails, and changes its mind, as a test says."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import cast

from gateway.settings.dns import Dns
from gateway.settings.url import HostPort

A, AAAA = 1, 28
NO_ERROR, SERVER_FAILURE, NAME_ERROR, REFUSED = 0, 2, 3, 5
_TYPES = {A: "A", AAAA: "AAAA"}
_CNAME = 5
_IN = 1
_RESPONSE = 0x8180  # an answer, recursion desired and available
_HEAD = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """A name server.

    Attributes:
        addresses: What each name leads to; a name that is not there does not exist.
        ttl: Seconds for which an answer may be kept.
        aliases: The canonical name that is told with an answer, and its own TTL.
        hanging: Names for which no answer comes; ``name AAAA`` for one kind of question only.
        failing: Names whose questions are answered with an error, and which.
        lose: So many questions more are not answered.
        questions: What was asked, as ``name A`` or ``name AAAA``.
        port: Where it listens.
    """

    addresses: dict[str, list[str]] = field(default_factory=dict)
    ttl: int = 60
    aliases: dict[str, tuple[str, int]] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    failing: dict[str, int] = field(default_factory=dict)
    lose: int = 0
    questions: list[str] = field(default_factory=list)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    def asked(self, name: str) -> int:
        """How often a name's IPv4 addresses were asked for."""
        return self.questions.count(f"{name} A")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        number = _HEAD.unpack_from(data)[0]
        labels, end = _labels(data, _HEAD.size)
        name = b".".join(labels).decode().lower()
        (kind,) = struct.unpack_from(">H", data, end)
        question = f"{name} {_TYPES.get(kind, kind)}"
        self.questions.append(question)
        if name in self.hanging or question in self.hanging:
            return
        if self.lose:
            self.lose -= 1
            return
        asked = data[_HEAD.size : end + 4]
        code, records = self._answer(name, kind)
        head = _HEAD.pack(number, _RESPONSE | code, 1, len(records), 0, 0)
        assert self._transport is not None
        self._transport.sendto(head + asked + b"".join(records), addr)

    def _answer(self, name: str, kind: int) -> tuple[int, list[bytes]]:
        if name in self.failing:
            return self.failing[name], []
        if name not in self.addresses:
            return NAME_ERROR, []
        owner, records = name, []
        if name in self.aliases:
            owner, ttl = self.aliases[name]
            records.append(_record(name, _CNAME, ttl, _encoded(owner)))
        addresses = [ip_address(address) for address in self.addresses[name]]
        of_kind = [address for address in addresses if kind == (A if address.version == 4 else AAAA)]
        return NO_ERROR, [*records, *(_record(owner, kind, self.ttl, address.packed) for address in of_kind)]


def _labels(data: bytes, at: int) -> tuple[list[bytes], int]:
    labels = []
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return labels, at + 1


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _record(name: str, kind: int, ttl: int, data: bytes) -> bytes:
    return _encoded(name) + _RECORD.pack(kind, _IN, ttl, len(data)) + data


def asking(*servers: NameServer, **more: float) -> Dns:
    """Settings by which these servers are asked, in short time."""
    return replace(
        Dns(tuple(HostPort("127.0.0.1", server.port) for server in servers), timeout=0.2, min_ttl=0.05),
        **more,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def name_server(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[NameServer]:
    """Run a name server while the block runs."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=(host, port))
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
