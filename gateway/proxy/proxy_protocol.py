"""`ProxyProtocol`: whom a connection comes from, as the PROXY protocol's header says before anything else is sent.

The rules are HAProxy's, in proxy-protocol.txt; the sections below are that file's:

* Who sends the header is known beforehand, and never guessed (section 2): a proxy on our list has to send it, and
  anybody else must not.
* Nothing is processed before the header is complete and valid. A connection without a valid one is aborted (sections
  2, 2.1).
* Version 1 is a line of at most 107 bytes (section 2.1). Version 2 is a block that says how long it is (section 2.2);
  what follows the addresses in it (TLVs) is skipped.
* With the command LOCAL, and with any protocol but TCP over IPv4 or IPv6, the proxy itself counts as the client
  (sections 2.1, 2.2). A value that the specification does not define is an error.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from socket import MSG_PEEK, socket
from typing import Final

from gateway.limits.address import Address, Network, Unix, belongs
from gateway.limits.rejection import Rejection
from gateway.proxy.accepted_socket import readable

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""The first 12 bytes of version 2."""
_WORD: Final = b"PROXY "
"""The first bytes of version 1."""
_BEGINNING: Final = len(_SIGNATURE)
"""Bytes after which the version is known; version 1 has at least three more."""

_MAX_LINE: Final = 107
"""Bytes of the longest line of version 1 (section 2.1)."""
_PORT = re.compile("0|[1-9][0-9]{0,4}", re.ASCII)
_MAX_PORT = 65_535
_FIELDS = 6
"""The word PROXY, the protocol, two addresses and two ports."""
_V1_FAMILIES: Final[dict[str, type[IPv4Address] | type[IPv6Address]]] = {"TCP4": IPv4Address, "TCP6": IPv6Address}

_FIXED: Final = 16
"""Bytes of a header of version 2 before its addresses."""
_VERSION: Final = 0x20
_LOCAL, _PROXY = 0, 1
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES: Final = {_TCP4: 12, _TCP6: 36}
"""Bytes of both addresses and ports."""
_MAX_FAMILY, _MAX_TRANSPORT = 3, 2
"""The largest values that are defined."""


class RefusedHeaderError(Exception):
    """A connection is refused because of the PROXY protocol.

    Attributes:
        rejection: Why.
    """

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.rejection = Rejection("proxy_protocol", reason, why)


def parse_line(line: bytes) -> Address | None:
    """The client's address in a header of version 1, with its CRLF; None if it names none (section 2.1).

    Raises:
        RefusedHeaderError: it is not valid.
    """
    fields = line.removesuffix(b"\r\n").decode("latin-1").split(" ")
    if fields[:2] == ["PROXY", "UNKNOWN"]:
        return None
    try:
        family = _V1_FAMILIES[fields[1]]
        if len(fields) == _FIELDS and all(map(_is_port, fields[4:])) and b"%" not in line:  # no zones of IPv6
            source, _ = family(fields[2]), family(fields[3])
            return _unmapped(source)
    except (ValueError, LookupError):  # no address; another protocol, or none
        pass
    raise RefusedHeaderError("malformed", "the PROXY protocol's line is not valid")


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= _MAX_PORT


def _unmapped(address: Address) -> Address:
    """An IPv4 address within IPv6 is the IPv4 address, as everywhere."""
    return getattr(address, "ipv4_mapped", None) or address


def length_of(fixed: bytes) -> int:
    """Bytes that follow the first 16 of a header of version 2."""
    return int.from_bytes(fixed[14:16], "big")


def parse_block(fixed: bytes, rest: bytes) -> Address | None:
    """The client's address in a header of version 2; None if it names none (section 2.2).

    Args:
        fixed: Its first 16 bytes.
        rest: The others: addresses, then TLVs, which are skipped.

    Raises:
        RefusedHeaderError: it is not valid.
    """
    version, command = fixed[12] & 0xF0, fixed[12] & 0x0F
    if version == _VERSION and command == _LOCAL:
        return None
    family = fixed[13]
    if version != _VERSION or command != _PROXY or family >> 4 > _MAX_FAMILY or family & 0x0F > _MAX_TRANSPORT:
        raise RefusedHeaderError("malformed", "the PROXY protocol's header has a version, command or family unknown")
    if family not in _ADDRESSES:
        return None
    if len(rest) < _ADDRESSES[family]:
        raise RefusedHeaderError("malformed", "the PROXY protocol's header is too short for its addresses")
    return IPv4Address(rest[:4]) if family == _TCP4 else _unmapped(IPv6Address(rest[:16]))


@dataclass(frozen=True, slots=True)
class ProxyProtocol:
    """Reads the headers with which connections to a listener begin.

    Attributes:
        proxies: Who sends a header with each connection.
        timeout: Seconds for a header to arrive.
        max_size: Bytes of a header at most.
    """

    proxies: Sequence[Network | Unix]
    timeout: float
    max_size: int

    def requires(self, peer: Address | Unix | None) -> bool:
        """Whether this peer has to send a header."""
        return belongs(peer, self.proxies)

    async def read(self, accepted: socket) -> Address | None:
        """Read the header of a proxy, and no byte more.

        Returns:
            The client's address; None if the proxy itself is the client.

        Raises:
            RefusedHeaderError: there is no valid header.
            ConnectionError: the proxy closed the connection without sending anything.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._read(_Pieces(accepted))
        except TimeoutError:
            why = f"the PROXY protocol's header did not arrive within {self.timeout:g} s"
            raise RefusedHeaderError("timeout", why) from None

    async def _read(self, pieces: "_Pieces") -> Address | None:
        beginning = await pieces.take(_BEGINNING)
        if beginning == _SIGNATURE:
            fixed = beginning + await pieces.take(_FIXED - _BEGINNING)
            if _FIXED + length_of(fixed) > self.max_size:
                why = f"the PROXY protocol's header is longer than max_proxy_protocol, {self.max_size} bytes"
                raise RefusedHeaderError("too_long", why)
            return parse_block(fixed, await pieces.take(length_of(fixed)))
        if beginning.startswith(_WORD):
            return parse_line(await pieces.take_line(beginning))
        why = "a peer in proxy_protocol began a connection without the PROXY protocol's header"
        raise RefusedHeaderError("missing", why)

    async def check_stranger(self, accepted: socket) -> None:
        """Wait for the first bytes of anybody else, who must not send a header, and leave them there.

        One who sends a header in pieces, or late, is not noticed here. Neither TLS nor HTTP begins like one, so such a
        connection ends as any other that cannot be read.

        Raises:
            RefusedHeaderError: there is a header.
        """
        try:
            async with asyncio.timeout(self.timeout):
                await readable(accepted)
                first = accepted.recv(_BEGINNING, MSG_PEEK)
        except (TimeoutError, OSError):  # it says nothing yet, or is gone: what reads next has its own deadline
            return
        if first == _SIGNATURE or first.startswith(_WORD):
            why = "a peer that is not in proxy_protocol began a connection with the PROXY protocol's header"
            raise RefusedHeaderError("untrusted_peer", why)


class _Pieces:
    """Takes bytes from a socket, however small the pieces are in which they come.

    Args:
        accepted: The socket. What is not taken stays in the kernel: it is TLS's, or HTTP's.
    """

    __slots__ = ("_accepted", "_loop", "_taken")

    def __init__(self, accepted: socket) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._taken = False

    async def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        taken = b""
        while len(taken) < size:
            piece = await self._loop.sock_recv(self._accepted, size - len(taken))
            if piece:
                self._taken = True
                taken += piece
            elif self._taken:
                raise RefusedHeaderError("truncated", "a connection ended within the PROXY protocol's header")
            else:
                raise ConnectionAbortedError
        return taken

    async def take_line(self, line: bytes) -> bytes:
        """The whole line that begins like this, with its CRLF."""
        while not line.endswith(b"\r\n"):
            if len(line) >= _MAX_LINE:
                raise RefusedHeaderError("too_long", f"the PROXY protocol's line is longer than {_MAX_LINE} bytes")
            line += await self.take(1)
            if not line.endswith(b"\r\n"):
                line += await self.take(self._arrived(line[-1:], _MAX_LINE - len(line)))
        return line

    def _arrived(self, last: bytes, most: int) -> int:
        """How many bytes of a line have arrived, after this last one that was taken."""
        try:
            here = self._accepted.recv(most, MSG_PEEK) if most else b""
        except BlockingIOError:
            return 0
        end = (last + here).find(b"\r\n")
        return len(here) if end < 0 else end + 1
