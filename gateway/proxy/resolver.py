"""`Resolver`: the addresses behind the names of upstreams, found out apart from each other and kept.

A name is looked up when a connection is to be opened and no answer is fresh, by one lookup however many requests wait
for it. A request that leaves, or waits no longer, ends no lookup.

======================  ================================================================================
what was answered       what becomes of it
======================  ================================================================================
addresses               are used for their TTL, which is taken as `min_ttl` at least and `max_ttl` at most
there is no such name   what was known is forgotten; not asked again for a second
nothing, or an error    what was known is used for `stale_time` more (RFC 8767); asked again after a second
======================  ================================================================================
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from gateway.limits.address import parse_address
from gateway.proxy.lookup import Found, NoSuchNameError, look_up
from gateway.proxy.observer import RequestObserver
from gateway.settings.dns import Dns

_AGAIN = 1.0
"""Seconds until a name that was not found is asked for again."""

_PATIENCE = 0.2
"""Seconds that a new answer may take before the one known so far has to do."""


@dataclass(slots=True)
class _Name:
    """A name, and what is known of it; instants are those of the loop's clock.

    Attributes:
        preferred: Its addresses of the family that is tried first.
        other: Those of the other family.
        fresh_until: Their TTL ends.
        due: It is looked up again by whoever needs it from then on.
        failure: Why the last lookup brought no answer; empty when it did.
        lookup: The one under way.
        asked: When it began.
        turn: Moves on with each use.
    """

    preferred: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    fresh_until: float = -inf
    due: float = -inf
    failure: str = ""
    lookup: asyncio.Task[None] | None = None
    asked: float = -inf
    turn: int = 0

    def learn(self, addresses: Sequence[str], until: float) -> None:
        """Take addresses for good until then."""
        is_ipv6 = ":" in addresses[0]
        self.preferred = tuple(address for address in addresses if (":" in address) is is_ipv6)
        self.other = tuple(address for address in addresses if (":" in address) is not is_ipv6)
        self.fresh_until = self.due = until
        self.failure = ""

    def forget(self) -> None:
        """Know no addresses any more."""
        self.preferred = self.other = ()

    def in_turn(self) -> list[str]:
        """Its addresses, in the order in which to try them this time."""
        self.turn += 1
        return [*_turned(self.preferred, self.turn), *_turned(self.other, self.turn)]


class Resolver:
    """Finds addresses behind names. It knows as many names as it was asked for: those of the configured upstreams.

    Args:
        dns: Whom to ask, and how long to keep what is answered.
        loop: Keeps the time.
        observer: Is told when addresses are used although no name server confirms them any more.
    """

    __slots__ = ("_dns", "_loop", "_names", "_observer")

    def __init__(self, dns: Dns, loop: asyncio.AbstractEventLoop, observer: RequestObserver) -> None:
        self._dns = dns
        self._loop = loop
        self._observer = observer
        self._names: dict[str, _Name] = {}

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a host, in the order in which to try them; an address is its own.

        Raises:
            OSError: none is known.
        """
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name()
            if parse_address(host) is not None:
                name.learn((host,), inf)
        if self._loop.time() >= name.due:
            await self._refresh(host, name)
        if not name.preferred:
            raise OSError(name.failure or f"{host} was not looked up")
        return name.in_turn()

    def close(self) -> None:
        """Give up the lookups that are under way."""
        for name in self._names.values():
            if name.lookup is not None:
                name.lookup.cancel()

    async def _refresh(self, host: str, name: _Name) -> None:
        """Look a name up, or wait for whoever does. What is known already is not waited for long."""
        now = self._loop.time()
        if now >= name.fresh_until + self._dns.stale_time:
            name.forget()
        if name.lookup is None:
            name.asked = now
            name.lookup = self._loop.create_task(self._look_up(host, name))
        patience = None
        if name.preferred:
            patience = 0.0 if name.failure else max(name.asked + _PATIENCE - now, 0.0)
        await asyncio.wait([name.lookup], timeout=patience)

    async def _look_up(self, host: str, name: _Name) -> None:
        try:
            found = await look_up(host, self._dns)
        except OSError as error:
            self._fail(host, name, error)
        else:
            name.learn(found.addresses, self._loop.time() + self._lifetime(found))
        finally:
            name.lookup = None

    def _fail(self, host: str, name: _Name, error: OSError) -> None:
        is_new, name.failure = not name.failure, str(error)
        name.due = self._loop.time() + _AGAIN
        if isinstance(error, NoSuchNameError):
            name.forget()
        elif name.preferred and is_new:  # said once, not for each lookup
            self._observer.name_unresolved(host, name.failure)

    def _lifetime(self, found: Found) -> float:
        return min(max(found.ttl, self._dns.min_ttl), self._dns.max_ttl)


def _turned(addresses: tuple[str, ...], turn: int) -> tuple[str, ...]:
    if not addresses:
        return ()
    first = turn % len(addresses)
    return addresses[first:] + addresses[:first]
