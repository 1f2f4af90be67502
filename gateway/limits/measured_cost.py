"""`MeasuredCost`: the cost of requests to an endpoint, if it is known only when they have ended.

Until then an estimate is charged; then the difference is charged or refunded, see `gateway.limits.debt.settle`.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

_DIGITS = re.compile(rb"[0-9]{1,18}")


class Unmeasured(Enum):
    """Why a request costs something else than its response says, as a label of a metric."""

    MISSING = "missing"
    """The response has no such header, and the estimate stays charged."""
    REPEATED = "repeated"
    """It has several, and the estimate stays charged."""
    INVALID = "invalid"
    """Its header is not a whole number, and the estimate stays charged."""
    ABOVE_MOST = "above_most"
    """It costs more than `at_most`, which is charged."""


class Ended(NamedTuple):
    """What is known of a request that has ended.

    Attributes:
        status: Of the response; 0 if the client left before there was one.
        was_sent: Whether any of it was sent to an upstream.
        costs: The values of the header that states the cost; None if no response came from the upstream.
        size: Bytes of the response's body, or of a tunnel, that were sent to the client.
    """

    status: int
    was_sent: bool
    costs: tuple[bytes, ...] | None
    size: int


class Measurement(NamedTuple):
    """What a request has cost.

    Attributes:
        estimate: Tokens that were charged at first.
        cost: Tokens that it has cost.
        problem: Why that is not what the response says; None if it is, or if a response says nothing.
    """

    estimate: int
    cost: int
    problem: Unmeasured | None = None


@dataclass(frozen=True, slots=True)
class MeasuredCost:
    """How the cost of a request is found.

    Attributes:
        estimate: Tokens that are charged at first, 1 or more: for a cost of 0, a full bucket would refuse nothing.
        at_most: Tokens that a request costs at most; None if it is never more than the estimate.
        header: The header of the upstream's response that states the tokens, in lower case; it is not passed on.
        per: Bytes of the response that cost a token; a part of them costs one as well, and so does an empty response.
        charge_on: Statuses of responses that cost the estimate, while others cost nothing; empty for all.
        give_back_on: Statuses of responses for which a request costs nothing.
        gives_back_unsent: Whether a request costs nothing that never reached an upstream.
    """

    estimate: int = 1
    at_most: int | None = None
    header: bytes | None = None
    per: int | None = None
    charge_on: frozenset[int] = frozenset()
    give_back_on: frozenset[int] = frozenset()
    gives_back_unsent: bool = True

    def document(self) -> dict[str, Any]:
        """As JSON has it; what is not set is left out."""
        back = [*sorted(self.give_back_on), *["unsent"] * self.gives_back_unsent]
        members = {
            "estimate": self.estimate,
            "header": self.header and self.header.decode(),
            "per": self.per,
            "charge_on": sorted(self.charge_on),
            "at_most": self.at_most,
        }
        return {**{name: value for name, value in members.items() if value}, "give_back_on": back}

    def measure(self, ended: Ended) -> Measurement:
        """What a request has cost.

        A request without a response costs what was estimated: whoever leaves early shall gain nothing by it.
        """
        if (self.gives_back_unsent and not ended.was_sent) or ended.status in self.give_back_on:
            return Measurement(self.estimate, 0)
        if self.charge_on:
            is_charged = ended.status in self.charge_on or not ended.status
            return Measurement(self.estimate, self.estimate if is_charged else 0)
        if self.per is not None:
            return self._capped(max(1, -(-ended.size // self.per)))
        if self.header is None or ended.costs is None:
            return Measurement(self.estimate, self.estimate)
        if len(ended.costs) != 1:
            return self._unknown(Unmeasured.REPEATED if ended.costs else Unmeasured.MISSING)
        value = ended.costs[0].strip(b" \t")
        return self._unknown(Unmeasured.INVALID) if _DIGITS.fullmatch(value) is None else self._capped(int(value))

    def _capped(self, cost: int) -> Measurement:
        if self.at_most is not None and cost > self.at_most:
            return Measurement(self.estimate, self.at_most, Unmeasured.ABOVE_MOST)
        return Measurement(self.estimate, cost)

    def _unknown(self, problem: Unmeasured) -> Measurement:
        return Measurement(self.estimate, self.estimate, problem)
