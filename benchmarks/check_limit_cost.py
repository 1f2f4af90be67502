"""What does a decision cost that a service asks for?

    .venv/bin/python -m benchmarks.check_limit_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

`POST /api/v1/check-limit` beside envoyproxy/ratelimit, which is asked over HTTP (`/json`) and gRPC, and gubernator,
also over both: 64 questions at a time, 10,000 users in turn, two buckets for each question, and all are allowed. Nobody
asks for a token: the gateway has `check_from`. The targets are for one build; of two, the compiled one.

Over HTTP, there are 64 keep-alive connections, as of 64 services. Over gRPC, there are as many, or all calls share one,
as those of a proxy do: then the kernel has the least to do. The gateway's door `rate_limit` is asked by the protocol
of ratelimit, over one connection.

The gateway and ratelimit keep their buckets in Redis, whose CPU does not count. Gubernator keeps its own in memory:
what is measured is one instance, which owns all buckets. Of several, most would have to ask another one.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import CHECK_LIMIT, CHECK_LIMIT_COMPILED, RATE_LIMIT_DOOR, RATELIMIT_GRPC, SERVICES
from benchmarks.kit.report import Report

MOST = 0.5


async def check_limit_cost(bench: Bench) -> Report:
    report = Report("check-limit-cost", "What does a decision cost that a service asks for?", __doc__ or "")
    door = bench.one_build(RATE_LIMIT_DOOR)
    peers = (*bench.builds(CHECK_LIMIT), door, *SERVICES)
    found = await bench.compare(peers, GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    build = CHECK_LIMIT_COMPILED if CHECK_LIMIT_COMPILED.name in found else CHECK_LIMIT
    report.targets += [cost_target(found, build, each, MOST, "questions-of-services") for each in SERVICES]
    report.targets.append(cost_target(found, door, RATELIMIT_GRPC, 1.0, "questions-of-services"))
    return report


if __name__ == "__main__":
    command(__doc__, check_limit_cost)
