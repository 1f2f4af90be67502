"""`run_rule_tests`: makes the requests of rule tests, on a virtual clock, and says what came out otherwise.

A request takes the proxy's way up to the limiter: `parse_target` reads it, `Rules.match` finds the endpoint,
`Rules.demands` the buckets, and `gateway.limits.bucket.take` decides. Only the buckets are the test's own.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import thread_time

from gateway.config.diagnostic import Diagnostic
from gateway.config.given_caller import GivenCaller
from gateway.config.rule_test import Expectation, RuleTest, Step
from gateway.limiter.verdict import OverLimits
from gateway.limits.bucket import Decision, State, take
from gateway.limits.caller import Caller
from gateway.limits.charge import Charge, Demand
from gateway.limits.condition import GivenFields
from gateway.limits.duration import format_duration
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import Identity
from gateway.limits.in_flight import without_slots
from gateway.limits.override import BLOCKED
from gateway.limits.priority import format_part
from gateway.limits.rate import MICROSECONDS
from gateway.limits.remaining import remaining_in, tightest
from gateway.limits.rules import Rules
from gateway.limits.unmatched import Unmatched
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.target import parse_target

LONGEST = 5.0
"""Seconds of CPU time that all tests of a run may take, so that no test fails because the machine is busy. A reload
pauses as long as it works, so it takes about ten seconds on an idle machine; other gateways wait 15 for it."""

_START = 1_767_225_600 * MICROSECONDS
"""When a test begins that does not say it: 2026-01-01, midnight UTC."""
_BETWEEN_PAUSES = 500
"""Requests and buckets charged: about a millisecond of CPU."""


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """What came of a test.

    Attributes:
        test: The test.
        failure: What came out otherwise, and where it was expected; None if it passed.
    """

    test: RuleTest
    failure: Diagnostic | None


class _MismatchError(Exception):
    """A step came out otherwise."""

    def __init__(self, failure: Diagnostic) -> None:
        super().__init__(str(failure))
        self.failure = failure


def run_rule_tests(
    tests: Iterable[RuleTest], rules: Rules, *, pause: Callable[[], object] = lambda: None, longest: float = LONGEST
) -> list[RuleTestResult]:
    """Run tests. Each begins with full buckets, and ends with its first step that comes out otherwise.

    Args:
        tests: As read for these rules.
        rules: What they test. Overrides, which are set for a time, do not count; a limit that refuses a share of
            callers refuses all.
        pause: Called about once a millisecond, so that other threads get their turn.
        longest: Seconds of this thread's CPU time, after which all tests that have not ended fail.
    """
    run = _Run(rules.as_if_enforced(), pause, thread_time() + longest, longest)
    return [RuleTestResult(test, run.failure(test)) for test in tests]


class _Run:
    """Runs tests for one set of rules."""

    def __init__(self, rules: Rules, pause: Callable[[], object], deadline: float, longest: float) -> None:
        self._rules = rules
        self._pause = pause
        self._deadline = deadline
        self._longest = longest
        self._identity = Identity((), (), b"")
        self._done = 0

    def failure(self, test: RuleTest) -> Diagnostic | None:
        """What of a test came out otherwise; None if nothing did."""
        buckets: dict[bytes, State] = {}
        now = _START if test.begins is None else test.begins
        self._rules = self._rules.at(now)
        try:
            for step in test.steps:
                now += round(step.after * MICROSECONDS)
                if self._rules.changes_at is not None and now >= self._rules.changes_at:
                    self._rules = self._rules.at(now)
                if step.method:
                    self._make(step, buckets, now)
        except _MismatchError as mismatch:
            return mismatch.failure
        return None

    def _make(self, step: Step, buckets: dict[bytes, State], now: int) -> None:
        """Make the requests of a step.

        Raises:
            _MismatchError: one of them came to something else.
        """
        endpoint = self._match(step)
        if isinstance(endpoint, BadRequest):
            if step.expect is not Expectation.REJECTED:
                found = f"the request was rejected with {endpoint.response.status} (reason: {endpoint.reason})"
                raise _mismatch(step, "expect", f"{step.expect.value}, but {found}")
            return
        if step.expect is Expectation.REJECTED:
            raise _mismatch(step, "expect", f"rejected, but the request is valid: it belongs to {endpoint.name}")
        if step.endpoint not in (None, endpoint.name):
            raise _mismatch(step, "endpoint", f"{step.endpoint}, but the request belongs to {endpoint.name}")
        demands = without_slots(self._rules.demands(endpoint, self._caller(step.caller)))
        for number in range(1, step.times + 1):
            self._count(step, 1 + len(demands))
            decision = _decide(demands, buckets, now)
            over = OverLimits(demands, decision.refused)
            if _result(over, decision) is not step.expect:
                found = f"the request was {_outcome(demands, decision)}"
                which = f" (number {number} of {step.times})" if step.times > 1 else ""
                raise _mismatch(step, "expect", f"{step.expect.value}, but {found}{which}")
            naming = over.told if decision.allowed else over.refusing
            missing = [name for name in step.by if name not in naming]
            if missing:
                which = f" (number {number} of {step.times})" if step.times > 1 else ""
                found = f"the request was {_outcome(demands, decision)}{which}"
                raise _mismatch(step, "by", f"{step.expect.value} by {', '.join(missing)}, but {found}")

    def _match(self, step: Step) -> Endpoint | BadRequest:
        target = parse_target(step.target, ())
        if isinstance(target, BadRequest):
            return target
        fields = GivenFields(step.headers, target.query)
        found = self._rules.match(step.method, target.host, target.path, fields)
        return BadRequest.of(found) if isinstance(found, Unmatched) else found

    def _count(self, step: Step, work: int) -> None:
        self._done += work
        if self._done >= _BETWEEN_PAUSES:
            self._done = 0
            self._pause()
            if thread_time() > self._deadline:
                spent = f"{format_duration(self._longest)} of CPU time"
                why = f"the tests have not ended after {spent}; make fewer requests"
                raise _MismatchError(step.failure("request", why))

    def _caller(self, given: GivenCaller) -> Caller:
        holders = self._rules.holders
        if given.user is None:
            return self._identity.client(given.address, holders)
        return self._identity.user(
            given.user, given.tier, address=given.address, attributes=given.attributes, holders=holders
        )


def _decide(demands: Sequence[Demand], buckets: dict[bytes, State], now: int) -> Decision:
    decision, states = take(demands, [buckets.get(demand.key) for demand in demands], now)
    for demand, state in zip(demands, states, strict=True):
        if state is not None:
            buckets[demand.key] = state
    return decision


def _result(over: OverLimits, decision: Decision) -> Expectation:
    if not decision.allowed:
        return Expectation.REFUSED
    return Expectation.TOLD if over.told else Expectation.ALLOWED


def _outcome(demands: Sequence[Demand], decision: Decision) -> str:
    """What became of a request, and why, in words that go on from "the request was"."""
    if not decision.allowed:
        return f"refused by {' and '.join(_why(demands, decision))}"
    if not demands:
        return "allowed, because no limit counts it"
    if told := OverLimits(demands, decision.refused).told:
        return f"allowed, and the upstream was told of {' and '.join(told)}"
    bucket = tightest(remaining_in(demands, decision))
    if bucket is None:
        return "allowed, because no limit that counts it refuses"
    return f"allowed; {bucket.charge.limit} has {bucket.remaining} of {bucket.charge.most} tokens left"


def _why(demands: Sequence[Demand], decision: Decision) -> list[str]:
    """Each limit that refused, with when its bucket could pay."""
    reasons = []
    for position in decision.refused:
        charge = demands[position].charge
        payable_at = charge.payable_at(decision.owed[position], decision.now)
        if not charge.enforced:
            continue
        if charge.limit == BLOCKED:
            reasons.append("a block")
        elif charge.is_closed:
            reasons.append(f"{charge.limit} (the caller lacks an attribute that it is per)")
        elif payable_at is None:
            most = "burst" if charge.quota.calendar is None else "quota"
            holds = f"{most} {charge.quota.burst}{_kept(charge)}"
            reasons.append(f"{charge.limit} ({holds}, below the cost of {charge.cost})")
        else:
            wait = format_duration((payable_at - decision.now) / MICROSECONDS)
            reasons.append(f"{charge.limit} ({charge.quota}{_kept(charge)}; it could pay in {wait})")
    return reasons


def _kept(charge: Charge) -> str:
    """What of a bucket is kept from a request; empty for nothing."""
    return f", of which {format_part(charge.reserve)} is kept for a higher priority" if charge.reserve else ""


def _mismatch(step: Step, key: str, what: str) -> _MismatchError:
    return _MismatchError(step.failure(key, f"expected {what}"))
