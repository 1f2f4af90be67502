"""`Tiers`: the tier by which a caller is charged, out of a bounded number of names."""

from collections.abc import Iterable, Mapping

from gateway.limits.identity import Caller
from gateway.limits.limit import Limit
from gateway.limits.override import Override

NONE = ""
OTHER = "(other)"
"""A tier that no limit names: whatever a token or header calls it, the caller is charged as without a tier."""


class Tiers:
    """The tiers that some limits name.

    Args:
        limits: All active limits.
    """

    __slots__ = ("_known",)

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._known = frozenset(name for limit in limits for name in limit.tiers)

    def of(self, endpoint: str, caller: Caller, overrides: Mapping[bytes, Override]) -> str:
        """The name of a caller's tier at an endpoint: one that a limit names, `NONE` or `OTHER`."""
        tier = caller.tier
        override = overrides.get(caller.digest)
        if override is not None and override.tier is not None and override.covers(endpoint):
            tier = override.tier
        if not tier:
            return NONE
        return tier if tier in self._known else OTHER
