"""What does a request cost?

    .venv/bin/python -m benchmarks.request_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

64 keep-alive connections request one order after another, in the name of 10,000 users in turn, as fast as responses
arrive. Each request is charged to its user's bucket and to the endpoint's, both in Redis where a peer can do that,
and allowed; the origin responds with a small JSON document. The peers run at the same time, each with a Redis of its
own, and are measured in turn: a warm-up of a second, then one run. Their configurations are in `benchmarks/peers`, with
comments on what is tuned.

The figure is the CPU time of a peer's processes per request, including the kernel's work for them: it hardly varies on
a noisy machine, where throughput does. Note:

* A peer has one core. Load, origin and Redis share the others; on two cores a fast peer waits for them, so its
  throughput is a lower bound.
* A peer that is not busy all the time batches less, and so uses more CPU per request.
* Envoy alone and HAProxy count in their own memory: less work, and no limit shared by several gateways.
* Fastify's plugin counts one window, not two buckets. Envoy's two processes count together.
* No peer but the gateway checks paths, cleans headers, streams with deadlines and keeps metrics by limit.
"""

from http import HTTPStatus

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import GENEROUS
from benchmarks.kit.peers import COMPILED, ENVOY_RATELIMIT, FASTIFY, GATEWAY, NGINX_LUA, PEERS, PLAIN_AIOHTTP
from benchmarks.kit.report import Report

_SECTION = "where-the-time-goes"
_MOST = {
    GATEWAY.name: ((NGINX_LUA, 2.7),),
    COMPILED.name: ((NGINX_LUA, 1.6), (FASTIFY, 0.4), (ENVOY_RATELIMIT, 0.28), (PLAIN_AIOHTTP, 0.17)),
}
"""A build's CPU divided by that of others; for pure Python, what it was on 2026-11-25."""


async def request_cost(bench: Bench) -> Report:
    report = Report("request-cost", "What does a request cost?", __doc__ or "")
    builds = bench.builds(GATEWAY)
    found = await bench.compare((*builds, *PEERS), GENEROUS, report, users=USERS, status=HTTPStatus.OK)
    report.tables.append(cost_table(found))
    for build in builds:
        report.targets += [cost_target(found, build, peer, most, _SECTION) for peer, most in _MOST[build.name]]
    return report


if __name__ == "__main__":
    command(__doc__, request_cost)
