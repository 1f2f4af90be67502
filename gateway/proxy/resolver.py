"""`Resolver`: looks up the names of upstreams, independently of each other, and caches their addresses.

A name is looked up when a connection is opened and no answer is fresh. All requests that need it wait for the same
lookup, which goes on even if none of them waits any longer.

======================  ================================================================================
result of the lookup    what happens
======================  ================================================================================
addresses               they are used for their TTL, but for `min_ttl` at least and `max_ttl` at most
no such name            known addresses are dropped; the next lookup is a second later at the earliest
none, or an error       known addresses are used for `stale_time` more (RFC 8767); the next lookup as above
======================  ================================================================================
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from gateway.limits.address import parse_address
from gateway.proxy.lookup import Found, LookupFailedError, NoSuchNameError, look_up
from gateway.proxy.observer import RequestObserver
from gateway.settings.dns import Dns

_RETRY_TIME = 1.0
"""Seconds until a name whose lookup failed is looked up again."""

_REFRESH_TIMEOUT = 0.2
"""Seconds to wait for a new answer while stale addresses are known."""


@dataclass(slots=True)
class _Name:
    """A name and its cached addresses; times are those of the loop's clock.

    Attributes:
        preferred: Addresses of the family that is tried first.
        other: Addresses of the other family.
        fresh_until: When their TTL ends.
        due: When the name may be looked up again.
        failure: Why the last lookup failed; empty if it succeeded.
        lookup: The lookup in progress.
        started: When it began.
        uses: How often the addresses were used.
    """

    preferred: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    fresh_until: float = -inf
    due: float = -inf
    failure: str = ""
    lookup: asyncio.Task[None] | None = None
    started: float = -inf
    uses: int = 0

    def store(self, addresses: Sequence[str], until: float) -> None:
        """Cache addresses until then."""
        is_ipv6 = ":" in addresses[0]
        self.preferred = tuple(address for address in addresses if (":" in address) is is_ipv6)
        self.other = tuple(address for address in addresses if (":" in address) is not is_ipv6)
        self.fresh_until = self.due = until
        self.failure = ""

    def forget(self) -> None:
        """Drop the cached addresses."""
        self.preferred = self.other = ()

    def in_turn(self) -> list[str]:
        """The addresses, in the order in which to try them this time."""
        self.uses += 1
        return [*_rotated(self.preferred, self.uses), *_rotated(self.other, self.uses)]


class Resolver:
    """Resolves names. Its cache holds as many names as there are in the configured upstreams.

    Args:
        dns: Name servers and cache times.
        loop: The event loop.
        observer: Notified when stale addresses are used because a lookup failed.
    """

    __slots__ = ("_dns", "_loop", "_names", "_observer")

    def __init__(self, dns: Dns, loop: asyncio.AbstractEventLoop, observer: RequestObserver) -> None:
        self._dns = dns
        self._loop = loop
        self._observer = observer
        self._names: dict[str, _Name] = {}

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a host, in the order in which to try them; an IP address resolves to itself.

        Raises:
            OSError: no address is known.
        """
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name()
            if parse_address(host) is not None:
                name.store((host,), inf)
        if self._loop.time() >= name.due:
            await self._refresh(host, name)
        if not name.preferred:
            raise LookupFailedError(name.failure or f"{host} was not looked up")
        return name.in_turn()

    def close(self) -> None:
        """Cancel the lookups in progress."""
        for name in self._names.values():
            if name.lookup is not None:
                name.lookup.cancel()

    async def _refresh(self, host: str, name: _Name) -> None:
        """Look a name up, or wait for the lookup in progress; only briefly if addresses are known already."""
        now = self._loop.time()
        if now >= name.fresh_until + self._dns.stale_time:
            name.forget()
        if name.lookup is None:
            name.started = now
            name.lookup = self._loop.create_task(self._look_up(host, name))
        timeout = None
        if name.preferred:
            timeout = 0.0 if name.failure else max(name.started + _REFRESH_TIMEOUT - now, 0.0)
        await asyncio.wait([name.lookup], timeout=timeout)

    async def _look_up(self, host: str, name: _Name) -> None:
        try:
            found = await look_up(host, self._dns)
        except OSError as error:
            self._fail(host, name, error)
        else:
            name.store(found.addresses, self._loop.time() + self._lifetime(found))
        finally:
            name.lookup = None

    def _fail(self, host: str, name: _Name, error: OSError) -> None:
        is_new, name.failure = not name.failure, str(error)
        name.due = self._loop.time() + _RETRY_TIME
        if isinstance(error, NoSuchNameError):
            name.forget()
        elif name.preferred and is_new:  # reported once, not for each lookup
            self._observer.name_unresolved(host, name.failure)

    def _lifetime(self, found: Found) -> float:
        return min(max(found.ttl, self._dns.min_ttl), self._dns.max_ttl)


def _rotated(addresses: tuple[str, ...], by: int) -> tuple[str, ...]:
    if not addresses:
        return ()
    first = by % len(addresses)
    return addresses[first:] + addresses[:first]
