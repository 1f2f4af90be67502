"""What does a refusal cost?

    .venv/bin/python -m benchmarks.refusal_cost [--seconds 4] [--rounds 5] [--only NAME,NAME]

One user, who has one request an hour, asks on 64 kept connections as fast as the answers come: 429, each time. Peers,
rounds and measure are those of `request_cost`; a client that goes on like this is what a limit is there for.

Redis commands are counted by Redis (INFO commandstats): those that a peer sends, and how often a bucket was looked at.
The gateway's sign of life, once a second whatever happens, is the one command it sends; it looks at no bucket.
Fastify and plain nginx have no memory of refusals and ask each time; envoyproxy/ratelimit has one, turned on here.
Plain nginx limits nothing, and so has no row.
"""

from http import HTTPStatus

from benchmarks.kit.bench import Bench
from benchmarks.kit.command import command
from benchmarks.kit.comparison import cost_table, cost_target
from benchmarks.kit.peer import STINGY
from benchmarks.kit.peers import GATEWAY, NGINX, NGINX_LUA, PEERS
from benchmarks.kit.report import Report, Target

MOST_OF_NGINX_LUA = 0.5


async def refusal_cost(bench: Bench) -> Report:
    report = Report("refusal-cost", "What does a refusal cost?", __doc__ or "")
    peers = [peer for peer in PEERS if peer is not NGINX]
    found = await bench.compare(peers, STINGY, report, users=1, status=HTTPStatus.TOO_MANY_REQUESTS)
    report.tables.append(cost_table(found))
    ours = found.get(GATEWAY.name)
    reads = max(sample.bucket_reads for sample in ours) if ours else None
    report.targets += [
        cost_target(found, NGINX_LUA.name, MOST_OF_NGINX_LUA),
        Target("looks at a bucket in Redis, all rounds, for a client that stays over", 0, reads, digits=0),
    ]
    return report


if __name__ == "__main__":
    command(__doc__, refusal_cost)
