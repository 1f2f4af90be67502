"""The checks that a soak must pass."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from benchmarks.soak.clients import BrokenRequest, Clients
from benchmarks.soak.environment import Environment
from benchmarks.soak.faults import Faults
from benchmarks.soak.watch import SHORTEST, WARM_UP, Watch
from tests.waiting import eventually

MOST_GROWTH = 0.10
"""How much a worker's memory may grow after its warm-up."""

COST = 2
"""Tokens that a read costs, of 64 bytes each."""

_BREAK_DELAY = 2.0
"""Seconds after a kill within which a client may notice that its connection is gone."""

_FAULT_EVENTS = ("request_failed", "control_request_failed", "overrides_failed", "drain_time_over", "log_lines_dropped")


class Check(NamedTuple):
    """A statement, and whether it holds."""

    text: str
    holds: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'} {self.text}"


async def check(environment: Environment, clients: Clients, faults: Faults, watch: Watch) -> list[Check]:
    """Make all checks. No requests must be in flight."""
    return [
        *_responses(clients, faults),
        *await _counts(environment, clients, faults),
        *await _settled(environment, faults),
        *_processes(environment, faults, watch),
    ]


def _responses(clients: Clients, faults: Faults) -> Iterator[Check]:
    responses = ", ".join(f"{count} of {status}" for status, count in sorted(clients.statuses.items()))
    yield Check(
        f"{clients.sent} requests: responses {responses}; {len(clients.broken)} broken; the slowest took "
        f"{clients.slowest:.2f} s",
        clients.sent == clients.statuses.total() + len(clients.broken),
    )
    yield Check("no status but 200 and 429", clients.statuses.keys() <= {200, 429})
    yield Check(f"connections refused: {clients.refused[:3] or 'none'}", not clients.refused)
    unexplained = [
        each
        for each in clients.broken
        if not any(
            each.opened <= kill.dead and kill.when <= each.ended <= kill.dead + _BREAK_DELAY for kill in faults.kills
        )
    ]
    yield Check(
        f"{len(clients.broken) - len(unexplained)} requests broke with a worker that was killed, "
        f"{len(unexplained)} for another reason {'; '.join(_describe(each, faults) for each in unexplained[:3])}",
        not unexplained,
    )


def _describe(broken: BrokenRequest, faults: Faults) -> str:
    last = max((kill.dead for kill in faults.kills if kill.when <= broken.ended), default=0.0)
    return (
        f"{broken.why} {broken.ended - broken.opened:.4f} s after connecting, {broken.ended - last:.4f} s after a death"
    )


async def _counts(environment: Environment, clients: Clients, faults: Faults) -> list[Check]:
    requests = await environment.counts("gateway_requests_total", "outcome", "status")
    decisions = await environment.counts("gateway_limit_decisions_total", "limit")
    exposed = sum(kill.exposed for kill in faults.kills)
    broken = len(clients.broken)
    wanted = {("allowed", "2xx"): clients.statuses[200], ("refused", "4xx"): clients.statuses[429]}
    others = {key: value for key, value in requests.items() if value and key not in wanted}
    found = [
        Check(
            f"metrics count {requests.get(key, 0):.0f} {key[0]}, clients {count} "
            f"(may differ by -{exposed} to +{broken}, since {len(faults.kills)} workers were killed)",
            -exposed <= requests.get(key, 0) - count <= broken,
        )
        for key, count in wanted.items()
    ]
    total, responses = sum(requests.values()), clients.statuses.total()
    decided = decisions.get(("everyone",), 0) + decisions.get(("(blocked)",), 0)
    return [
        *found,
        Check(f"metrics count {total:.0f} in all, clients {responses}", -exposed <= total - responses <= broken),
        Check(f"metrics count nothing else: {others or 'nothing'}", not others),
        # A request whose worker was killed may have been decided, and not been counted as a request.
        Check(
            f"the limit that applies to all requests decided {decided:.0f} times",
            -exposed <= decided - total <= exposed + broken,
        ),
    ]


async def _settled(environment: Environment, faults: Faults) -> list[Check]:
    """What is known only when a request has ended."""
    endpoint = ("read-order",)
    allowed = (await environment.counts("gateway_requests_total", "endpoint", "outcome")).get((*endpoint, "allowed"), 0)
    cost = (await environment.counts("gateway_cost_measured_total", "endpoint")).get(endpoint, 0)
    unmeasured = await environment.counts("gateway_cost_unmeasured_total")
    exposed = COST * sum(kill.exposed for kill in faults.kills)
    in_flight = sum((await environment.counts("gateway_limit_in_flight")).values())
    held: dict[str, int] = {}

    async def none_held() -> bool:
        nonlocal held
        held = await environment.at_once()
        return not held

    with suppress(TimeoutError):
        await eventually(none_held)
    return [
        Check(
            f"{allowed:.0f} requests cost {COST} tokens each: {cost:.0f} were measured, {sum(unmeasured.values()):.0f} "
            "requests were not",
            abs(cost - COST * allowed) <= exposed and not any(unmeasured.values()),
        ),
        Check(f"{in_flight:.0f} requests in flight; Redis counts {held or 'none'}", not in_flight and not held),
    ]


def _processes(environment: Environment, faults: Faults, watch: Watch) -> Iterator[Check]:
    growth = watch.growth
    growths = ", ".join(f"{grown:+.1%}" for grown in growth.values())
    yield Check(
        f"memory after {WARM_UP:.0f} s: {growths or f'not measured, no process lived {WARM_UP + SHORTEST:.0f} s'} "
        f"(at most {MOST_GROWTH:+.0%})",
        all(grown <= MOST_GROWTH for grown in growth.values()),
    )
    most = max(size for seen in watch.memory.values() for _, size in seen)
    yield Check(
        f"{len(watch.memory)} processes, of which the largest held {most / 2**20:.0f} MiB",
        len(watch.memory) > 2,
    )
    first, last = watch.descriptors[0], watch.descriptors[-1]
    yield Check(f"the supervisor has {last} descriptors open, at first {first}", last <= first)
    yield Check(f"counters that decreased: {watch.decreased or 'none'}", not watch.decreased)
    output = environment.gateway.output
    killed = {kill.pid for kill in faults.kills}
    deaths = [line for line in output.splitlines() if ") ended with" in line]
    unexpected = [line for line in deaths if not any(f"(pid {pid})" in line for pid in killed)]
    yield Check(f"{len(deaths)} workers died, {len(unexpected)} unexpectedly {unexpected[:3] or ''}", not unexpected)
    events = Counter(event["event"] for event in _events(output))
    libraries = {
        f"{each['logger']}: {each['message']}"
        for each in _events(output)
        if each["event"] == "library" and each["level"] == "error"
    }
    fault_events = {name: events[name] for name in _FAULT_EVENTS if events[name]}
    yield Check(
        f"the gateway's own faults in the log: {fault_events or 'none'}", not fault_events and "Traceback" not in output
    )
    yield Check(f"events: {', '.join(f'{count} {name}' for name, count in events.most_common())}", holds=True)
    yield Check(f"libraries' errors in the log: {'; '.join(sorted(libraries)) or 'none'}", not libraries)


def _events(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith("{"):
            yield json.loads(line)
