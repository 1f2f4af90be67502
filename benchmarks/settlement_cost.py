"""What does it cost to settle what is known only when a request has ended?

    .venv/bin/python -m benchmarks.settlement_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

The gateway with two buckets a request, its user's and the endpoint's, as in `request_cost`; the same with a measured
cost, of which each request gives back a half in both buckets; and the same with a limit of requests at once for each
user as well. Every request is allowed.
"""

from http import HTTPStatus
from itertools import chain

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import AT_ONCE, GATEWAY, MEASURED
from benchmarks.kit.report import Report

_MOST = 1.4
"""CPU of a request with either, divided by that of one with two buckets."""


async def settlement_cost(bench: Bench) -> Report:
    report = Report("settlement-cost", "What does it cost to settle at the end?", __doc__ or "")
    plain, others = bench.builds(GATEWAY), (bench.builds(MEASURED), bench.builds(AT_ONCE))
    peers = (*plain, *chain.from_iterable(others))
    found = await bench.compare(peers, GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    for settled in others:
        for ours, base in zip(settled, plain, strict=True):
            report.targets.append(cost_target(found, ours, base, _MOST, "settling-at-the-end"))
    return report


if __name__ == "__main__":
    command(__doc__, settlement_cost)
