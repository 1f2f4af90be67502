"""What `when_redis_is_down` means for callers within their limit, and for greedy ones.

The workers' own code decides, on a virtual clock: no machine is slow or fast here. Redis is unavailable for a minute. A
caller within the limit sends three quarters of the rate at random times, over connections that end at random workers; a
greedy one sends twenty times the rate to all of them. ``gateway`` is what was considered and not built: the workers of
one gateway share a bucket.
"""

from collections.abc import Sequence
from random import Random

from gateway.limits.charge import FailurePolicy
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.kit.fleet_model import FleetModel

QUOTA = Quota(Rate(10, 1), 40)
SECONDS = 60
CONNECTIONS = {"one connection": 1, "four connections": 4, "a new connection each": 0}


def fleet_of(policy: str, gateways: int, workers: int) -> FleetModel:
    """A fleet whose Redis has just become unavailable; for ``gateway``, the gateways are the workers."""
    size = gateways if policy == "gateway" else gateways * workers
    fleet = FleetModel(QUOTA, FailurePolicy.LOCAL if policy == "gateway" else FailurePolicy(policy), size)
    fleet.fail()
    return fleet


def refused_share(fleet: FleetModel, connections: int, random: Random) -> float:
    """Which share of the requests of a caller within the limit is refused."""
    ends: Sequence[int] = [random.randrange(fleet.size) for _ in range(connections)] or range(fleet.size)
    end, asked, refused = fleet.now + SECONDS * 1_000_000, 0, 0
    while fleet.now < end:
        fleet.wait(int(random.expovariate(0.75 / QUOTA.interval)))
        asked += 1
        refused += not fleet.ask(random.choice(ends))
    return refused / asked


def admitted_share(fleet: FleetModel) -> float:
    """What a greedy caller gets, as a multiple of what the limit allows in this time."""
    end = fleet.now + SECONDS * 1_000_000
    while fleet.now < end:
        for worker in range(fleet.size):
            fleet.ask(worker)
        fleet.wait(QUOTA.interval // 20)
    return len(fleet.admitted) / (QUOTA.burst + SECONDS * 1_000_000 / QUOTA.interval)


def main() -> None:
    """Print a table."""
    print(f"Redis is unavailable for {SECONDS} s; limit {QUOTA}; refused requests of a caller at 75% of it")
    header = "".join(f"{name:>24}" for name in CONNECTIONS)
    print(f"{'fleet':8}{'policy':10}{header}{'greedy caller gets':>24}")
    for gateways, workers in ((2, 2), (3, 4)):
        for policy in ("local", "gateway", "whole"):
            cells = []
            for connections in CONNECTIONS.values():
                shares = [
                    refused_share(fleet_of(policy, gateways, workers), connections, Random(seed)) for seed in range(20)
                ]
                cells.append(f"{sum(shares) / len(shares):>23.1%} ")
            greedy = admitted_share(fleet_of(policy, gateways, workers))
            print(f"{f'{gateways} x {workers}':8}{policy:10}{''.join(cells)}{greedy:>21.2f} x")


if __name__ == "__main__":
    main()
