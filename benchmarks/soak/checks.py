"""`Account`: what was found, held against what has to be."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.soak.clients import Break, Crowd
from benchmarks.soak.environment import World
from benchmarks.soak.faults import Trouble
from benchmarks.soak.watch import SHORTEST, WARM_UP, Watch

MOST_GROWTH = 0.10
"""By which the memory of a worker may grow after its warm-up."""

_AFTER = 2.0
"""Seconds after a kill in which a client may find out that its connection is gone."""

_FAULTS = ("request_failed", "control_request_failed", "overrides_failed", "drain_time_over", "log_lines_dropped")


class Finding(NamedTuple):
    """Something that has to hold."""

    text: str
    holds: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'} {self.text}"


async def findings(world: World, crowd: Crowd, trouble: Trouble, watch: Watch) -> list[Finding]:
    """All that has to hold, and whether it does. Nobody asks the gateway anything meanwhile."""
    return [
        *_answers(crowd, trouble),
        *await _counts(world, crowd, trouble),
        *_processes(world, trouble, watch),
    ]


def _answers(crowd: Crowd, trouble: Trouble) -> Iterator[Finding]:
    answers = ", ".join(f"{count} of {status}" for status, count in sorted(crowd.statuses.items()))
    yield Finding(
        f"{crowd.sent} requests, answered with {answers}; {len(crowd.breaks)} broke; the slowest took "
        f"{crowd.slowest:.2f} s",
        crowd.sent == crowd.statuses.total() + len(crowd.breaks),
    )
    yield Finding("no answer but 200 and 429", crowd.statuses.keys() <= {200, 429})
    yield Finding(f"no connection refused: {crowd.refused[:3] or 'none'}", not crowd.refused)
    unexplained = [
        each
        for each in crowd.breaks
        if not any(each.opened <= kill.dead and kill.when <= each.ended <= kill.dead + _AFTER for kill in trouble.kills)
    ]
    yield Finding(
        f"{len(crowd.breaks) - len(unexplained)} requests broke with a worker that was killed, "
        f"{len(unexplained)} for another reason {'; '.join(_told(each, trouble) for each in unexplained[:3])}",
        not unexplained,
    )


def _told(broken: Break, trouble: Trouble) -> str:
    last = max((kill.dead for kill in trouble.kills if kill.when <= broken.ended), default=0.0)
    return (
        f"{broken.why} {broken.ended - broken.opened:.4f} s after connecting, {broken.ended - last:.4f} s after a death"
    )


async def _counts(world: World, crowd: Crowd, trouble: Trouble) -> list[Finding]:
    requests = await world.counts("gateway_requests_total", "outcome", "status")
    decisions = await world.counts("gateway_limit_decisions_total", "limit")
    exposed = sum(kill.exposed for kill in trouble.kills)
    broken = len(crowd.breaks)
    wanted = {("allowed", "2xx"): crowd.statuses[200], ("refused", "4xx"): crowd.statuses[429]}
    others = {key: value for key, value in requests.items() if value and key not in wanted}
    found = [
        Finding(
            f"metrics count {requests.get(key, 0):.0f} {key[0]}, clients {count} "
            f"(may differ by -{exposed} to +{broken}, for {len(trouble.kills)} workers were killed)",
            -exposed <= requests.get(key, 0) - count <= broken,
        )
        for key, count in wanted.items()
    ]
    total, answered = sum(requests.values()), crowd.statuses.total()
    decided = decisions.get(("everyone",), 0) + decisions.get(("(blocked)",), 0)
    return [
        *found,
        Finding(f"in all {total:.0f} against {answered}", -exposed <= total - answered <= broken),
        Finding(f"nothing else is counted: {others or 'nothing'}", not others),
        # A request that died with its worker may have been decided, and not have come to its end.
        Finding(
            f"the limit that all fall under was asked {decided:.0f} times",
            -exposed <= decided - total <= exposed + broken,
        ),
    ]


def _processes(world: World, trouble: Trouble, watch: Watch) -> Iterator[Finding]:
    growth = watch.growth
    said = ", ".join(f"{grown:+.1%}" for grown in growth.values())
    yield Finding(
        f"memory after {WARM_UP:.0f} s: {said or f'not measured, nobody lived {WARM_UP + SHORTEST:.0f} s'} "
        f"(at most {MOST_GROWTH:+.0%})",
        all(grown <= MOST_GROWTH for grown in growth.values()),
    )
    most = max(size for seen in watch.memory.values() for _, size in seen)
    yield Finding(
        f"{len(watch.memory)} processes, of which the largest held {most / 2**20:.0f} MiB",
        len(watch.memory) > 2,
    )
    first, last = watch.descriptors[0], watch.descriptors[-1]
    yield Finding(f"the supervisor has {last} descriptors open, at first {first}", last <= first)
    yield Finding(f"no counter went back: {watch.backward or 'none'}", not watch.backward)
    output = world.gateway.output
    killed = {kill.pid for kill in trouble.kills}
    deaths = [line for line in output.splitlines() if ") ended with" in line]
    strange = [line for line in deaths if not any(f"(pid {pid})" in line for pid in killed)]
    yield Finding(f"{len(deaths)} workers died, {len(strange)} unexpectedly {strange[:3] or ''}", not strange)
    events = Counter(event["event"] for event in _events(output))
    libraries = {
        f"{each['logger']}: {each['message']}"
        for each in _events(output)
        if each["event"] == "library" and each["level"] == "error"
    }
    faults = {name: events[name] for name in _FAULTS if events[name]}
    yield Finding(f"no fault of ours in the log: {faults or 'none'}", not faults and "Traceback" not in output)
    yield Finding(f"events: {', '.join(f'{count} {name}' for name, count in events.most_common())}", holds=True)
    yield Finding(f"no error in a library: {'; '.join(sorted(libraries)) or 'none'}", not libraries)


def _events(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith("{"):
            yield json.loads(line)
