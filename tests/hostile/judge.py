"""Sends a case through the proxy, and judges what became of it, by what both ends saw.

Whatever the case, these hold: the upstream got only what a strict reader and h11 read alike, no request line of a
smuggled request, and no request that was not paid for; the client got whole answers, one for each request, none of them
a 500.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from multidict import CIMultiDict

from gateway.limiter.verdict import Outcome as Decided
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity_source import Sender
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.settings.intake import Intake
from tests.hostile.case import Case
from tests.hostile.responses import Answer, BrokenResponseError, read_responses
from tests.hostile.strict import Request, read_strictly, read_with_h11
from tests.hostile.wire import converse, recorder
from tests.kit.identity import make_identity
from tests.proxy.running import Seen, proxy

INTAKE = Intake(idle_timeout=0.02, head_timeout=0.4, body_timeout=0.4)
ENDPOINTS = (Endpoint("limited", Template.parse("/limited/{rest...}")),)
LIMITS = (
    Limit("all", ("user",), Quota(Rate(1, 86_400), 1_000)),
    Limit("limited", ("user", "endpoint"), Quota(Rate(1, 86_400), 3), endpoints=frozenset({"limited"})),
)
STRANGERS = make_identity(trusted_proxies=())
TRUSTING = make_identity(trusted_proxies=(ip_network("127.0.0.0/8"),))
_SPENDING = b"GET /limited HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
_PEER = ip_address("127.0.0.1")


@dataclass(frozen=True)
class Outcome:
    """What both ends saw of a case."""

    answers: list[Answer]
    requests: list[Request]
    begun: int
    buckets: list[str]
    digests: list[bytes]

    @property
    def final(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status >= 200]


async def run(case: Case, pieces: Sequence[bytes]) -> Outcome:
    """Send a case in pieces, and check what holds of every case."""
    identity = TRUSTING if case.trusting else STRANGERS
    async with recorder() as up:
        async with proxy(
            up.port,
            limits=LIMITS,
            endpoints=ENDPOINTS,
            identity=identity,
            intake=_intake(len(pieces)),
        ) as running:
            if case.spent:
                for _ in range(3):
                    await converse(running.port, [_SPENDING])
            before = len(running.seen.verdicts)
            heard = await converse(running.port, list(pieces), half_close=case.half_close)
            seen = running.seen
        readings = []
        for stream in map(bytes, up.streams):
            assert b"\n GET /smuggled-canary" not in stream
            strict, second = read_strictly(stream), read_with_h11(stream)
            assert strict == second or (strict.whole == second.whole and strict.begun), (strict, second)
            readings.append(strict)
    requests = [request for reading in readings for request in reading.whole]
    if case.spent:
        requests = requests[3:]
    begun = sum(reading.begun for reading in readings)
    assert not any(b"/smuggled-canary" in request.target for request in requests)
    paid = [n for n, verdict in enumerate(seen.verdicts) if n >= before and verdict.outcome is Decided.ALLOWED]
    assert len(requests) + begun <= len(paid), "a request was not paid for"
    answers = _read_answers(heard.raw, [request.method for request in requests], case)
    assert all(answer.status not in {500, 502, 504} and answer.whole for answer in answers)
    return Outcome(answers, requests, begun, _buckets(seen, paid), _digests(seen, paid))


def _intake(pieces: int) -> Intake:
    """With time for each piece: a busy machine may pause between two."""
    if pieces == 1:
        return INTAKE
    longer = 0.4 + 0.002 * pieces
    return replace(INTAKE, idle_timeout=0.06 + 0.0005 * pieces, head_timeout=longer, body_timeout=longer)


def _read_answers(raw: bytes, methods: list[bytes], case: Case) -> list[Answer]:
    if methods or not case.raw.lstrip().startswith(b"HEAD "):
        return read_responses(raw, methods)
    try:
        return read_responses(raw, [b"HEAD"])
    except BrokenResponseError:
        return read_responses(raw, [])  # it could not be read, so nobody knows that it was a HEAD


def _buckets(seen: Seen, paid: list[int]) -> list[str]:
    return ["limited" if len(seen.demands[n]) == 2 else "default" for n in paid]


def _digests(seen: Seen, paid: list[int]) -> list[bytes]:
    return [seen.demands[n][0].key[-32:] for n in paid]


def objection(outcome: Outcome, case: Case) -> str | None:
    """Why an outcome is none of those that a case accepts; None if it is one."""
    reasons = []
    for way in case.accept:
        reason = _WAYS[way["kind"]](outcome, way, case)
        if reason is None:
            return None
        reasons.append(f"{way['kind']}: {reason}")
    return "; ".join(reasons)


def _rejected(outcome: Outcome, way: Mapping[str, Any], case: Case) -> str | None:  # noqa: ARG001
    if outcome.requests:
        return f"{len(outcome.requests)} requests reached the upstream"
    statuses = [answer.status for answer in outcome.final]
    if len(statuses) != 1 or statuses[0] not in way["status"]:
        return f"answered {statuses}"
    return None if outcome.final[0].says_close else "it does not say that the connection is closed"


def _forwarded(outcome: Outcome, way: Mapping[str, Any], case: Case) -> str | None:  # noqa: PLR0911
    requests = outcome.requests
    if not way["upstream"] <= len(requests) <= way.get("upstream_max", way["upstream"]):
        return f"{len(requests)} requests reached the upstream, answers {[a.status for a in outcome.final]}"
    if outcome.begun or len(outcome.final) < len(requests):
        return "not every request was whole and answered"
    if way.get("must_close") and not outcome.final[-1].says_close:
        return "the connection was left open"
    if way.get("body_exact") and not case.raw.endswith(b"\r\n\r\n" + requests[0].body):
        return "another body"
    if "body" in way and requests[0].body != way["body"].encode():
        return f"another body: {requests[0].body[:100]!r}"
    if forbidden := way.get("forbid_upstream_header"):
        name, _, value = forbidden.partition(": ")
        if any(not value or given == value.encode() for request in requests for given in request.all(name)):
            return f"{forbidden} went upstream"
    if (forbidden := way.get("forbid_response_header")) and outcome.final[0].all(forbidden):
        return f"{forbidden} in the answer"
    if "bucket" in way and outcome.buckets[0] != way["bucket"]:
        return f"charged to {outcome.buckets}"
    return _charged_to_another(outcome, way, case)


def _charged_to_another(outcome: Outcome, way: Mapping[str, Any], case: Case) -> str | None:
    identity = TRUSTING if case.trusting else STRANGERS
    key = way.get("user_key") or way.get("client_key")
    if key is None:
        return None
    headers = CIMultiDict[str]()
    peer = _PEER
    if "user_key" in way and "anonymous" not in key:
        headers["X-User-Id"] = key
    else:
        with suppress(ValueError):
            peer = ip_address(key)
        if "xff-tr-v6" in key:
            peer = ip_address("2001:db8:1:2::1")
    expected = identity.identify(Sender(peer, "X-User-Id" in headers, headers)).digest
    return None if set(outcome.digests) == {expected} else f"not charged to {key}"


def _local(outcome: Outcome, way: Mapping[str, Any], case: Case) -> str | None:  # noqa: ARG001
    if outcome.requests:
        return f"{len(outcome.requests)} requests reached the upstream"
    statuses = [answer.status for answer in outcome.final]
    return None if len(statuses) == 1 and statuses[0] in way["status"] else f"answered {statuses}"


def _incomplete(outcome: Outcome, way: Mapping[str, Any], case: Case) -> str | None:
    if outcome.requests:
        return f"{len(outcome.requests)} requests reached the upstream"
    statuses = [answer.status for answer in outcome.final]
    if not statuses and case.half_close:
        return None
    return None if len(statuses) == 1 and statuses[0] in way["status"] else f"answered {statuses}"


def _mixed(outcome: Outcome, way: Mapping[str, Any], case: Case) -> str | None:  # noqa: ARG001
    asked = case.raw.count(b" HTTP/1.1\r\n")
    statuses = [answer.status for answer in outcome.final]
    expected = [200] * 3 + [429] * (asked - 3)
    return None if statuses == expected and len(outcome.requests) == 3 else f"answered {statuses}"


_WAYS = {"reject": _rejected, "forward": _forwarded, "local": _local, "incomplete": _incomplete, "mixed": _mixed}
