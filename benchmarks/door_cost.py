"""What does a decision at a door cost?

    .venv/bin/python -m benchmarks.door_cost [--seconds 4] [--rounds 5] [--only NAME,NAME]

The load of `request_cost`: 64 connections, 10,000 users in turn, two buckets for each request, in Redis, and all are
allowed. The peers are other proxies that ask the gateway at a door before they forward a request themselves, Envoy that
asks envoyproxy/ratelimit, the gateway in the path of requests, and nginx without a limit. Of a proxy and what it asks,
the processes count together.

"The door alone" is asked by the load generator itself, as Envoy would over HTTP: the CPU time of one decision, without
a proxy that asks and without an upstream.

"Envoy + rate_limit" has the configuration of "Envoy + ratelimit + Redis", to the letter: it asks at another port.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import DOORS, ENVOY_DOOR, ENVOY_RATE_LIMIT_DOOR, ENVOY_RATELIMIT
from benchmarks.kit.report import Report, Target
from benchmarks.kit.sample import ratio


async def door_cost(bench: Bench) -> Report:
    report = Report("door-cost", "What does a decision at a door cost?", __doc__ or "")
    found = await bench.compare(DOORS, GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    for ours in (ENVOY_DOOR.name, ENVOY_RATE_LIMIT_DOOR.name):
        pair = found.get(ours), found.get(ENVOY_RATELIMIT.name)
        measured = ratio(*pair) if pair[0] and pair[1] else None
        report.targets.append(Target(f"CPU, {ours} / {ENVOY_RATELIMIT.name}", 1.0, measured))
    return report


if __name__ == "__main__":
    command(__doc__, door_cost)
