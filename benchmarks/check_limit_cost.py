"""What does a decision cost that a service asks for?

    .venv/bin/python -m benchmarks.check_limit_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

`POST /api/v1/check-limit` beside the HTTP API of envoyproxy/ratelimit (`/json`): 64 keep-alive connections, 10,000
users in turn, two buckets for each question, in Redis, and all are allowed. Neither asks for a token: the gateway has
`check_from`. The target is for the build that is measured; of two, for the compiled one.

Left out: the gRPC API of envoyproxy/ratelimit, and gubernator. The load generators speak HTTP/1.1 only.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import CHECK_LIMIT, CHECK_LIMIT_COMPILED, RATELIMIT
from benchmarks.kit.report import Report, Target
from benchmarks.kit.sample import ratio

MOST_OF_RATELIMIT = 0.5

_BUILDS = {
    "pure": (CHECK_LIMIT,),
    "compiled": (CHECK_LIMIT_COMPILED,),
    "both": (CHECK_LIMIT, CHECK_LIMIT_COMPILED),
}


async def check_limit_cost(bench: Bench) -> Report:
    report = Report("check-limit-cost", "What does a decision cost that a service asks for?", __doc__ or "")
    peers = (*_BUILDS[bench.build], RATELIMIT)
    found = await bench.compare(peers, GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    build = CHECK_LIMIT_COMPILED if CHECK_LIMIT_COMPILED.name in found else CHECK_LIMIT
    ours, theirs = found.get(build.name), found.get(RATELIMIT.name)
    measured = ratio(ours, theirs) if ours and theirs else None
    text, section = f"CPU, {build.name} / {RATELIMIT.name}", "questions-of-services"
    report.targets.append(Target(text, MOST_OF_RATELIMIT, measured, section))
    return report


if __name__ == "__main__":
    command(__doc__, check_limit_cost)
