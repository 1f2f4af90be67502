"""Listening sockets: bound before anything else is started, so that a port in use is the first thing reported.

Each worker has its own socket on each port (SO_REUSEPORT), opened and held open by the supervisor. A worker that dies
takes no waiting connection with it: its successor inherits the socket. In a rolling restart the supervisor keeps its
sockets too, and closes none as long as its address is listened on, because connections waiting on a socket would go
with it. When the gateway stops, it closes them first: a worker accepts what waits on its socket and closes the last
copy, so that later clients are refused at once instead of waiting for nobody. When there are fewer workers than
sockets, a worker serves several. A Unix socket is one, which all workers share; see `unix_socket`.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.config.operator_error import OperatorError
from gateway.process import unix_socket
from gateway.settings.listener import BACKLOG, Listener

Address = tuple[object, ...]
"""A socket's address, in Python's form."""

Bound = Mapping[Listener, Sequence[socket.socket]]
"""Listening sockets, by listener."""


class ListenError(OperatorError):
    """An address cannot be listened on."""


def bind(listener: Listener, copies: int = 1, inherited: Sequence[socket.socket] = ()) -> list[socket.socket]:
    """Open sockets for a listener, one for each worker; a single one if it is a Unix socket.

    Args:
        listener: The address.
        copies: How many sockets to open.
        inherited: Sockets that already listen there. All of them are kept.

    Raises:
        ListenError: the address is in use, or is not one of this machine.
    """
    sockets = list(inherited)
    try:
        if listener.unix:
            return unix_socket.renew(Path(listener.unix), listener.mode, sockets)
        address = sockets[0].getsockname() if sockets else probe(listener)
        while len(sockets) < copies:
            sockets.append(_open(address, shared=True, ipv6_only=listener.ipv6_only))
        for opened in sockets:
            opened.listen(BACKLOG)
    except OSError as error:
        raise _unusable(listener, error) from error
    return sockets


def close_sockets(sockets: Iterable[socket.socket]) -> None:
    """Close sockets in this process; those that other processes hold go on listening."""
    for each in sockets:
        each.close()


def probe(listener: Listener) -> Address:
    """The address of a listener, if it is free. No other process may listen there, not even a gateway.

    Raises:
        ListenError: the address is in use, or is not one of this machine.
    """
    try:
        if listener.unix:
            unix_socket.probe(Path(listener.unix))
            return ()
        *_, address = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with _open(address, shared=False, ipv6_only=listener.ipv6_only) as opened:
            return opened.getsockname()  # type: ignore[no-any-return]
    except OSError as error:
        raise _unusable(listener, error) from error


def close(listener: Listener, sockets: Sequence[socket.socket]) -> None:
    """Close a listener's sockets, and remove a Unix socket's file unless somebody else listens there by now."""
    for each in sockets:
        each.close()
    if listener.unix:
        unix_socket.remove(Path(listener.unix))


def discard(sockets: Sequence[socket.socket]) -> None:
    """Close inherited sockets whose address is listened on no more, while retiring workers may still hold them."""
    for each in sockets:
        if each.family == socket.AF_UNIX:
            with suppress(OSError):
                Path(each.getsockname()).unlink()
        each.close()


def of_worker(bound: Bound, number: int, count: int) -> Bound:
    """The sockets that one of so many workers serves: its share on a port, and every Unix socket."""
    return {listener: sockets if listener.unix else sockets[number::count] for listener, sockets in bound.items()}


def _unusable(listener: Listener, error: OSError) -> ListenError:
    return ListenError(f"cannot listen on {listener.address}: {error.strerror or error}")


def _open(address: Address, *, shared: bool, ipv6_only: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6_only)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened
