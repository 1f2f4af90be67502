"""What does a refusal cost?

    .venv/bin/python -m benchmarks.refusal_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

One user, who is allowed one request an hour, sends requests on 64 keep-alive connections as fast as responses arrive;
all of them are 429. Peers, runs and figures are those of `request_cost`.

Redis commands are counted by Redis (INFO commandstats): those that a peer sends, and how often a bucket was read. The
gateway sends its heartbeat once a second and nothing else; it reads no bucket. Fastify and nginx with Lua do not cache
refusals and ask Redis each time; envoyproxy/ratelimit has a cache, which is turned on. Plain nginx has no limit, and so
no row.
"""

from http import HTTPStatus

from benchmarks.kit.bench import Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import STINGY
from benchmarks.kit.peers import COMPILED, GATEWAY, NGINX, NGINX_LUA, PEERS
from benchmarks.kit.report import Report, Target

_SECTION = "where-the-time-goes"
_MOST = {GATEWAY.name: 2.0, COMPILED.name: 1.0}
"""A build's CPU divided by that of nginx with Lua; for pure Python, what it was on 2026-11-25."""


async def refusal_cost(bench: Bench) -> Report:
    report = Report("refusal-cost", "What does a refusal cost?", __doc__ or "")
    builds = bench.builds(GATEWAY)
    peers = [*builds, *(peer for peer in PEERS if peer is not NGINX)]
    found = await bench.compare(peers, STINGY, report, users=1, status=HTTPStatus.TOO_MANY_REQUESTS)
    report.tables.append(cost_table(found))
    reads = max((sample.bucket_reads for build in builds for sample in found.get(build.name, ())), default=None)
    report.targets += [
        *(cost_target(found, build, NGINX_LUA, _MOST[build.name], _SECTION) for build in builds),
        Target("bucket reads in Redis, all runs, for a client that stays over its limit", 0, reads, _SECTION, digits=0),
    ]
    return report


if __name__ == "__main__":
    command(__doc__, refusal_cost)
