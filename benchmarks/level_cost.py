"""What do more levels cost?

    .venv/bin/python -m benchmarks.level_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

The gateway with two buckets a request, its user's and the endpoint's, as in `request_cost`; and with five: its user's,
its organization's, its team's, its network's and that of all. Every request is allowed. Organization and team are read
from a header like the user, and there are as many of them as users, so that no bucket but the last two is shared.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import FIVE_LEVELS, GATEWAY
from benchmarks.kit.report import Report

_MOST = 1.4
"""CPU of a request with five levels, divided by that of one with two buckets."""


async def level_cost(bench: Bench) -> Report:
    report = Report("level-cost", "What do more levels cost?", __doc__ or "")
    two, five = bench.builds(GATEWAY), bench.builds(FIVE_LEVELS)
    found = await bench.compare((*two, *five), GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    for few, many in zip(two, five, strict=True):
        report.targets.append(cost_target(found, many, few, _MOST, "more-levels"))
    return report


if __name__ == "__main__":
    command(__doc__, level_cost)
