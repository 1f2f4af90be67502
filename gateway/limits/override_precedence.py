"""`OverridePrecedence`: which overrides apply to a caller, and which of them comes first.

Whatever comes first, one that blocks prevails, and then one that exempts: see `Rules.demands` (`limits/rules.py`).
"""

from collections.abc import Collection

from gateway.limits.address import Network
from gateway.limits.caller import MISSING, Caller
from gateway.limits.holder import Holder
from gateway.limits.network_map import NetworkMap
from gateway.limits.override import Block, Effect, Override, Overrides

_BLOCKED = Override(Effect.BLOCK, 2**63, "the rules block it")

_OfNetwork = tuple[Override, Network]


class OverridePrecedence:
    """Finds what is set for a caller, in this order: for the user, for the caller's attributes, for the address.

    Of a user or a network, an override comes before what the rule files block; of networks, the longest prefix counts.

    Args:
        overrides: The overrides.
        block: Whom the rule files block.
    """

    __slots__ = ("_attributes", "_block", "_networks", "_users")

    def __init__(self, overrides: Overrides, block: Block) -> None:
        networks: dict[Network, tuple[_OfNetwork, ...]] = {each: ((_BLOCKED, each),) for each in block.networks}
        for network, override in overrides.networks.items():
            networks[network] = ((override, network), *networks.get(network, ()))
        self._users = overrides.users
        self._attributes = [(holder.name, by_digest) for holder, by_digest in overrides.attributes.items()]
        self._block = block
        self._networks = NetworkMap(networks)

    def find(
        self, endpoint: str, caller: Caller, holders: Collection[Holder]
    ) -> list[tuple[Override, tuple[bytes, ...]]]:
        """What is set for a caller at an endpoint, the first one first.

        Each comes with the digests of those of the holders whose buckets it changes.
        """
        found: list[tuple[Override, tuple[bytes, ...]]] = []
        user, address = self._of_user(endpoint, caller), self._of_address(endpoint, caller)
        if user is not None:
            found.append((user, (caller.digest,)))
        found += [(override, (digest,)) for override, digest in self._of_attributes(endpoint, caller)]
        if address is not None:
            override, network = address
            within = [each.name for each in holders if each.lies_in(network)]
            found.append((override, tuple(caller.digests[name] for name in within if name in caller.digests)))
        return found

    def tier_of(self, endpoint: str, caller: Caller) -> str | None:
        """The tier that counts for a caller at an endpoint: that of the first override with one, or the caller's own.

        That of an address counts for callers who are known by nothing else.
        """
        overrides = [self._of_user(endpoint, caller)] if caller.id else []
        overrides += [override for override, _ in self._of_attributes(endpoint, caller)]
        if not caller.id and (address := self._of_address(endpoint, caller)) is not None:
            overrides.append(address[0])
        return next((each.tier for each in overrides if each is not None and each.tier is not None), caller.tier)

    def _of_user(self, endpoint: str, caller: Caller) -> Override | None:
        override = self._users.get(caller.digest)
        if override is not None and override.covers(endpoint):
            return override
        return _BLOCKED if caller.id and caller.id in self._block.users else None

    def _of_attributes(self, endpoint: str, caller: Caller) -> list[tuple[Override, bytes]]:
        """What is set for those whom the caller's attributes name, with the digest of each."""
        found = []
        for name, by_digest in self._attributes:
            digest = caller.digests.get(name, MISSING)
            override = by_digest.get(digest)
            if override is not None and override.covers(endpoint):
                found.append((override, digest))
        if not self._block.attributes.isdisjoint(caller.attributes.items()):
            found.append((_BLOCKED, caller.digest))
        return found

    def _of_address(self, endpoint: str, caller: Caller) -> _OfNetwork | None:
        """What is set for the longest prefix that covers the caller's address, and that network."""
        for overrides in self._networks.matching(caller.address):
            for found in overrides:
                if found[0].covers(endpoint):
                    return found
        return None
