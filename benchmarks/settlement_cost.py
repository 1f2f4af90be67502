"""What does it cost to settle what is known only when a request has ended?

    .venv/bin/python -m benchmarks.settlement_cost [--seconds 4] [--rounds 5] [--only NAME,NAME]

The gateway with two buckets a request, its user's and the endpoint's, as in `request_cost`; the same with a measured
cost, of which each request gives back a half in both buckets; and the same with a limit of requests at once for each
user as well. Every request is allowed.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import AT_ONCE, GATEWAY, MEASURED
from benchmarks.kit.report import Report, Target
from benchmarks.kit.sample import ratio

MOST = 1.4
"""CPU of a request with either, divided by that of one with two buckets."""


async def settlement_cost(bench: Bench) -> Report:
    report = Report("settlement-cost", "What does it cost to settle at the end?", __doc__ or "")
    found = await bench.compare((GATEWAY, MEASURED, AT_ONCE), GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    plain = found.get(GATEWAY.name)
    for peer, what in ((MEASURED, "a measured cost"), (AT_ONCE, "requests at once as well")):
        other = found.get(peer.name)
        cost = ratio(other, plain) if other and plain else None
        report.targets.append(Target(f"CPU, {what} / two buckets", MOST, cost))
    return report


if __name__ == "__main__":
    command(__doc__, settlement_cost)
