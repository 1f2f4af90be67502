"""`JointDemands`: the demands of several requests as those of one, which are charged together or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.limits.bucket import Decision
from gateway.limits.charge import Charge, Demand


class JointDemands(NamedTuple):
    """Demands of several requests.

    Attributes:
        demands: One for each bucket.
        positions: For each request, where its own demands are among them.
    """

    demands: list[Demand]
    positions: list[list[int]]

    def part(self, request: int, decision: Decision) -> Decision:
        """What a decision on all says to the demands of one request."""
        places = self.positions[request]
        return replace(
            decision,
            owed=tuple(decision.owed[place] for place in places),
            refused=tuple(at for at, place in enumerate(places) if place in decision.refused),
        )


def join(requests: Sequence[Sequence[Demand]]) -> JointDemands:
    """The demands of several requests as those of one: a bucket that several of them ask pays for all of these."""
    at: dict[bytes, int] = {}
    demands: list[Demand] = []
    positions = []
    for request in requests:
        places = []
        for demand in request:
            place = at.setdefault(demand.key, len(demands))
            if place == len(demands):
                demands.append(demand)
            else:
                demands[place] = Demand(demand.key, _sum(demands[place].charge, demand.charge))
            places.append(place)
        positions.append(places)
    return JointDemands(demands, positions)


def _sum(one: Charge, other: Charge) -> Charge:
    """What two requests cost a bucket, by the smaller of their quotas and the larger of their reserves.

    They may differ for users of one organization who are in different tiers, and for requests of different priority.
    """
    smaller = min(one, other, key=lambda charge: (charge.quota.burst, -charge.quota.interval))
    return Charge.of(
        one.limit,
        smaller.quota,
        one.cost + other.cost,
        enforced=one.enforced or other.enforced,
        failure_policy=one.failure_policy,
        reserve=max(one.reserve, other.reserve),
        tells=one.tells or other.tells,
    )
