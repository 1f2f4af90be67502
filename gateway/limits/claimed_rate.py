"""`ClaimedRate`: a limit's rate that a verified attribute of the caller states, such as a claim of a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from gateway.limits.charge import Charge
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

_MOST_DIGITS = 15
"""Of a number in an attribute: more are a mistake, not a large rate."""

_MAX_KNOWN = 4096
"""Charges that are remembered; callers have few different rates."""


class Unusable(Enum):
    """Why a caller does not have the rate that an attribute states."""

    MISSING = "missing"
    """There is no such attribute."""
    INVALID = "invalid"
    """It is not a whole number of at least 1, or far too large for one."""
    ABOVE_MOST = "above_most"
    """It is above `at_most`, which the caller has instead."""


@dataclass(frozen=True, slots=True)
class ClaimedRate:
    """The setting `from_claim`: where a caller's own rate stands, and what nobody exceeds.

    Attributes:
        attribute: The name of the attribute that has the number of tokens; its period is that of `at_most`.
        at_most: The largest rate.
    """

    attribute: str
    at_most: Rate

    def read(self, attributes: Mapping[str, str]) -> Rate | Unusable:
        """The rate of a caller with these attributes, or why they have none of their own."""
        value = attributes.get(self.attribute)
        if value is None:
            return Unusable.MISSING
        if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS and int(value)):
            return Unusable.INVALID
        if int(value) > self.at_most.tokens:
            return Unusable.ABOVE_MOST
        return Rate(int(value), self.at_most.seconds)

    def quota(self, own: Quota, attributes: Mapping[str, str], least: int = 1) -> Quota:
        """What a caller with these attributes has instead of `own`; the same if the rate is unusable.

        The burst is larger or smaller in proportion, so an empty bucket takes as long to fill, but at least `least`.
        """
        rate = self.read(attributes)
        if rate is Unusable.ABOVE_MOST:
            rate = self.at_most
        if isinstance(rate, Unusable) or not isinstance(own.rate, Rate):
            return own
        burst = own.burst * rate.tokens * own.rate.seconds // (own.rate.tokens * rate.seconds)
        return Quota(rate, max(least, burst))


class UnusableClaim(NamedTuple):
    """A limit to which a caller brings no usable rate.

    Attributes:
        limit: The limit's name.
        attribute: The attribute's name.
        reason: Why.
    """

    limit: str
    attribute: str
    reason: Unusable


class ClaimedCharges:
    """What requests cost under the rates that callers state.

    Args:
        claimed: Where the rates stand.
        least: The smallest burst.

    Attributes:
        claimed: The same.
    """

    __slots__ = ("_known", "_least", "claimed")

    def __init__(self, claimed: ClaimedRate, least: int) -> None:
        self.claimed = claimed
        self._least = least
        self._known: dict[tuple[int, str], Charge] = {}

    def of(self, own: Charge, attributes: Mapping[str, str]) -> Charge:
        """What a caller with these attributes is charged instead of `own`.

        Equal ones are the same object, which checks that are sent together rely on. `own` has to live as long as this.
        """
        value = attributes.get(self.claimed.attribute)
        if value is None:
            return own
        key = id(own), value
        charge = self._known.get(key)
        if charge is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            quota = self.claimed.quota(own.quota, attributes, self._least)
            charge = self._known[key] = own if quota is own.quota else own.with_quota(quota)
        return charge
