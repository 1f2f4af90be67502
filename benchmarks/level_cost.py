"""What do more levels cost?

    .venv/bin/python -m benchmarks.level_cost [--seconds 4] [--rounds 5] [--only NAME,NAME]

The gateway with two buckets a request, its user's and the endpoint's, as in `request_cost`; and with five: its user's,
its organization's, its team's, its network's and that of all. Every request is allowed. Organization and team are read
from a header like the user, and there are as many of them as users, so that no bucket but the last two is shared.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import FIVE_LEVELS, GATEWAY
from benchmarks.kit.report import Report, Target
from benchmarks.kit.sample import ratio

MOST = 1.4
"""CPU of a request with five levels, divided by that of one with two buckets."""


async def level_cost(bench: Bench) -> Report:
    report = Report("level-cost", "What do more levels cost?", __doc__ or "")
    found = await bench.compare((GATEWAY, FIVE_LEVELS), GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    two, five = found.get(GATEWAY.name), found.get(FIVE_LEVELS.name)
    report.targets.append(Target("CPU, five levels / two buckets", MOST, ratio(five, two) if five and two else None))
    return report


if __name__ == "__main__":
    command(__doc__, level_cost)
