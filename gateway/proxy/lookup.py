"""`look_up`: one DNS lookup, on sockets of its own.

c-ares does it (through pycares): /etc/hosts first, then the name servers, in the order of /etc/nsswitch.conf and with
the search domains and `ndots` of /etc/resolv.conf, all of which are read again for each lookup. ``localhost`` and what
ends in it is this machine (RFC 6761 section 6.3). Each lookup has a channel of its own, so that a name server that is
slow or silent for one name is still the first to be asked for every other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from socket import AF_INET, AF_UNSPEC, SOCK_STREAM, AddressFamily

from pycares import ARES_SOCKET_BAD, AddrInfoResult, AresError, Channel
from pycares.errno import ARES_EBADNAME, ARES_ENODATA, ARES_ENOTFOUND, strerror

from gateway.settings.dns import Dns

_TRIES = 3
_TIMEOUT = 10.0
"""Seconds for the whole lookup, however many name servers there are."""

_RESOLUTION_DELAY = 0.25
"""Seconds after which IPv4 addresses are enough: some name servers drop AAAA queries (RFC 8305 section 3)."""

_TICK = 0.001
_ABSENT = frozenset({ARES_ENOTFOUND, ARES_ENODATA, ARES_EBADNAME})

_Outcome = tuple[AddrInfoResult | None, int | None]


class NoSuchNameError(OSError):
    """A name has no address, according to an authoritative name server."""


class LookupFailedError(OSError):
    """No name server gave a usable answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a name.

    Attributes:
        addresses: The best first (RFC 6724 section 6).
        ttl: Seconds for which they may be cached; 0 for those of /etc/hosts.
    """

    addresses: tuple[str, ...]
    ttl: int


async def look_up(host: str, dns: Dns) -> Found:
    """Look up the addresses of a name.

    Raises:
        NoSuchNameError: the name has no address.
        LookupFailedError: no name server answered, or not in a usable way.
    """
    try:
        queries = _Queries(dns)
    except AresError as error:
        raise LookupFailedError(f"{host} was not looked up: {error}") from error
    try:
        async with asyncio.timeout(_TIMEOUT):
            answer, problem = await _first(queries, host)
    except TimeoutError:
        raise LookupFailedError(f"no name server answered for {host}") from None
    finally:
        queries.close()
    if problem in _ABSENT:
        raise NoSuchNameError(f"there is no address under the name {host}")
    if answer is None or not answer.nodes:
        raise LookupFailedError(f"{host} was not looked up: {str(strerror(problem or ARES_ENODATA)).lower()}")
    addresses = tuple(node.addr[0].decode() for node in answer.nodes)
    lifetimes = [node.ttl for node in answer.nodes] + [alias.ttl for alias in answer.cnames]
    return Found(addresses, min(lifetimes))


async def _first(queries: "_Queries", host: str) -> _Outcome:
    both = queries.ask(host, AF_UNSPEC)
    await asyncio.wait([both], timeout=_RESOLUTION_DELAY)
    if not both.done():
        only_ipv4 = queries.ask(host, AF_INET)
        await asyncio.wait([both, only_ipv4], return_when=asyncio.FIRST_COMPLETED)
        if not both.done() and only_ipv4.result()[0] is not None:
            return only_ipv4.result()
    return await both


class _Queries:
    """A channel of c-ares on the event loop.

    Args:
        dns: Name servers and timeout.

    Raises:
        AresError: no channel could be made.
    """

    def __init__(self, dns: Dns) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        servers = [str(server) for server in dns.servers] or None
        self._channel = Channel(timeout=dns.timeout, tries=_TRIES, servers=servers, sock_state_cb=self._watch)

    def ask(self, host: str, family: AddressFamily) -> asyncio.Future[_Outcome]:
        """Query the addresses of a name. The result is an answer or the number of a c-ares error."""
        outcome: asyncio.Future[_Outcome] = self._loop.create_future()
        self._channel.getaddrinfo(host, None, family=family, type=SOCK_STREAM, callback=_once(outcome))
        self._set_timer()
        return outcome

    def close(self) -> None:
        """Cancel the queries."""
        self._channel.cancel()
        self._closed = True  # pycares closes the sockets later, in a thread
        if self._timer is not None:
            self._timer.cancel()
        for socket in self._sockets:
            self._loop.remove_reader(socket)
            self._loop.remove_writer(socket)
        self._channel.close()
        del self._channel  # it refers to `_watch`, and so to this object

    def _watch(self, socket: int, readable: bool, writable: bool) -> None:
        """Watch a socket, or stop watching it."""
        if self._closed:
            return
        if readable:
            self._loop.add_reader(socket, self._process, socket, ARES_SOCKET_BAD)
        else:
            self._loop.remove_reader(socket)
        if writable:
            self._loop.add_writer(socket, self._process, ARES_SOCKET_BAD, socket)
        else:
            self._loop.remove_writer(socket)
        if readable or writable:
            self._sockets.add(socket)
        else:
            self._sockets.discard(socket)

    def _process(self, readable: int, writable: int) -> None:
        self._channel.process_fd(readable, writable)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(self._channel.timeout(), _TICK)  # type: ignore[no-untyped-call] # 0 if nothing is due
        self._timer = self._loop.call_later(delay, self._process, ARES_SOCKET_BAD, ARES_SOCKET_BAD)


def _once(outcome: asyncio.Future[_Outcome]) -> Callable[[AddrInfoResult | None, int | None], None]:
    def answered(answer: AddrInfoResult | None, problem: int | None) -> None:
        if not outcome.done():
            outcome.set_result((answer, problem))

    return answered
