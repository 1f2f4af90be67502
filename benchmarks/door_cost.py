"""What does a decision at a door cost?

    .venv/bin/python -m benchmarks.door_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

The load of `request_cost`: 64 connections, 10,000 users in turn, two buckets for each request, in Redis, and all are
allowed. The peers are other proxies that ask the gateway at a door before they forward a request themselves, Envoy that
asks envoyproxy/ratelimit, the gateway in the path of requests, and nginx without a limit. Of a proxy and what it asks,
the processes count together. One build of the gateway is measured, the compiled one if it is there.

"The door alone" is asked by the load generator itself, as Envoy would over HTTP: the CPU time of one decision, without
a proxy that asks and without an upstream.

"Envoy + rate_limit" has the configuration of "Envoy + ratelimit + Redis", to the letter: it asks at another port.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import DOORS, ENVOY_DOOR, ENVOY_RATE_LIMIT_DOOR, ENVOY_RATELIMIT, NGINX
from benchmarks.kit.report import Report


async def door_cost(bench: Bench) -> Report:
    report = Report("door-cost", "What does a decision at a door cost?", __doc__ or "")
    peers = (*map(bench.one_build, DOORS), ENVOY_RATELIMIT, NGINX)
    found = await bench.compare(peers, GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    for ours in map(bench.one_build, (ENVOY_DOOR, ENVOY_RATE_LIMIT_DOOR)):
        report.targets.append(cost_target(found, ours, ENVOY_RATELIMIT, 1.0, "decisions-at-a-door"))
    return report


if __name__ == "__main__":
    command(__doc__, door_cost)
