"""A request that is replayed is decided as the gateway with its buckets in memory decides on it at the same instant."""

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.limiter.memory import MemoryLimiter
from gateway.limits.calendar import DAY, UTC_ZONE, Calendar, CalendarRate
from gateway.limits.condition import Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity import Identity
from gateway.limits.limit import Exemption, Limit, Over
from gateway.limits.override import Block
from gateway.limits.quota import Quota
from gateway.limits.rate import MICROSECONDS, Rate
from gateway.limits.rules import Rules
from gateway.limits.schedule import Scheduled, Span
from gateway.limits.unmatched import Unmatched
from gateway.replay.comparison import compare
from gateway.replay.play import Play
from gateway.replay.request import LoggedRequest, RequestLine
from tests.fuzzing import examples

IDENTITY = Identity((), (), b"key")
RULES = Rules(
    [
        Endpoint("order", template=Template.parse("/orders/{id}")),
        Endpoint("costly", template=Template.parse("/costly"), cost=3),
    ],
    [
        Limit("each", ("user",), Quota(Rate(1, 1), 3), tiers={"gold": Quota(Rate(2, 1), 6)}),
        Limit("order", ("endpoint",), Quota(Rate(3, 1), 4), endpoints=frozenset({"order"})),
        Limit("trial", ("user", "endpoint"), Quota(Rate(1, 2), 1), enforce=False),
        Limit("address", ("address",), Quota(Rate(5, 1), 9), exempt=Exemption(users=frozenset({"bob"}))),
    ],
    block=Block(users=frozenset({"mallory"})),
)
NOTHING = Rules()
CLIENT = IDENTITY.client(None)
CALLERS = [
    CLIENT,
    *(
        replace(IDENTITY.user(user, tier), digests=CLIENT.digests)
        for user, tier in (("ana", None), ("bob", "gold"), ("mallory", None))
    ),
]
PATHS = ["/orders/7", "/ORDERS//8/", "/costly", "/other", "/a/../b"]


@examples(200)
@given(
    st.lists(st.tuples(st.integers(0, 2 * MICROSECONDS), st.sampled_from(CALLERS), st.sampled_from(PATHS)), max_size=60)
)
def test_it_decides_as_the_memory_limiter_does(steps: list[tuple[int, object, str]]) -> None:
    now = 1_700_000_000 * MICROSECONDS
    limiter, play = MemoryLimiter(1_000, lambda: now), Play(RULES)
    for pause, caller, path in steps:
        now += pause
        subject = RequestLine("GET", "", path)
        found = play.decide(LoggedRequest(now, 1, subject, caller, "", False), now)  # type: ignore[arg-type]
        endpoint = RULES.match("GET", "", path)
        if isinstance(endpoint, Unmatched):
            assert found is None
            continue
        demands = RULES.demands(endpoint, caller)  # type: ignore[arg-type]
        verdict = asyncio.run(limiter.check(demands))
        assert found is not None
        assert bool(found.refusing) is not verdict.allowed
        if found.refusing:
            refused = [demands[position].charge for position in verdict.decision.refused]
            assert found.refusing == [charge.limit for charge in refused if charge.enforced]


def request(time: int, user: str, subject: RequestLine | str | None = "order") -> LoggedRequest:
    return LoggedRequest(time, 1, subject, IDENTITY.user(user), user, False)


def test_what_is_newly_refused_is_counted_by_limit_and_caller() -> None:
    log = [(number, request(number, user)) for number in range(6) for user in ("ana", "bob")]
    log.append((7, request(7, "ana", None)))
    result = compare(log, Play(NOTHING), Play(RULES))
    assert (result.requests, result.unserved, result.callers.count) == (12, 1, 2)
    assert (result.before, result.after, result.newly, result.no_longer) == (0, 8, 8, 0)
    assert {name: (each.newly, each.callers.count) for name, each in result.limits.items()} == {"order": (8, 2)}
    assert result.top.top(9) == [(("order", "ana"), 4), (("order", "bob"), 4)]
    back = compare(log, Play(RULES), Play(NOTHING))
    assert (back.newly, back.no_longer, back.share) == (0, 8, 0.0)


def test_a_larger_share_of_callers_newly_refuses_those_that_are_added() -> None:
    def rules(share: float) -> Play:
        return Play(Rules(limits=[Limit("each", ("user",), Quota(Rate(1, 3600), 1), enforce=share)]))

    log = [(turn, request(turn, f"user-{number}", "default")) for turn in range(2) for number in range(100)]
    few, all_ = compare(log, Play(NOTHING), rules(0.1)), compare(log, rules(0.1), rules(1.0))
    assert 1 <= few.newly <= 25
    assert (all_.before, all_.after, all_.newly, all_.no_longer) == (few.newly, 100, 100 - few.newly, 0)


def refusing(play: Play, logged: LoggedRequest, now: int) -> list[str] | None:
    over = play.decide(logged, now)
    return None if over is None else over.refusing


def test_limits_that_tell_are_counted_apart() -> None:
    soft = Limit("soft", ("user",), Quota(Rate(1, 1), 2), over=Over.TELL)
    log = [(time, request(time, "ana")) for time in range(5)]
    result = compare(log, Play(NOTHING), Play(Rules(limits=[soft])))
    assert (result.after, result.newly) == (0, 0)
    assert (result.limits["soft"].told_before, result.limits["soft"].told) == (0, 3)


def test_the_clock_never_goes_back() -> None:
    log = [(time, request(time, "ana")) for time in (10 * MICROSECONDS, 0, 0, 0)]
    result = compare(log, Play(NOTHING), Play(RULES))
    assert (result.late, result.newly) == (3, 1)


def test_an_endpoint_that_the_rules_do_not_have_counts_as_the_default_one() -> None:
    play = Play(RULES)
    assert refusing(play, request(0, "ana", "gone"), 0) == []
    assert play.unknown == {"gone"}


def test_conditions_on_the_query_are_read() -> None:
    export = Endpoint(
        "export", template=Template.parse("/a"), query=(Condition("query", "format", frozenset({"csv"})),)
    )
    play = Play(Rules([export], [Limit("export", (), Quota(Rate(1, 1), 1), endpoints=frozenset({"export"}))]))
    for query, refused in (("format=csv", []), ("", []), ("format=csv&x", ["export"]), ("format=a&format=b", None)):
        assert refusing(play, request(0, "ana", RequestLine("GET", "", "/a", query)), 0) == refused


def test_buckets_are_bounded_and_what_is_lost_is_counted() -> None:
    play = Play(RULES, max_buckets=10)
    for number in range(1_000):
        play.decide(request(number, f"user{number}", "default"), number)
    assert len(play._buckets) == 10
    assert play.evicted > 0


def test_a_calendar_quota_comes_back_at_the_times_of_the_log() -> None:
    quota = Quota.each_period(CalendarRate(2, Calendar(DAY, UTC_ZONE)))
    play = Play(Rules(limits=[Limit("daily", ("user",), quota)]))
    day, start = 86_400 * MICROSECONDS, 20_000 * 86_400 * MICROSECONDS
    moments = [start - 1, start, start + 1, start + day - 1, start + day]
    assert [refusing(play, request(now, "ana", "default"), now) for now in moments] == [[], [], [], ["daily"], []]


def test_a_replay_keeps_to_the_schedules_of_limits() -> None:
    midnight = 1_767_225_600 * MICROSECONDS
    night = Scheduled((Span(begins=22 * 60, ends=6 * 60),), Quota(Rate(1, 86_400), 5))
    play = Play(Rules(limits=[Limit("each", ("user",), Quota(Rate(1, 86_400), 2), schedule=(night,))]))
    line, found = RequestLine("GET", "", "/", ""), []
    for hour, caller in ((5, CALLERS[1]), (12, CALLERS[2]), (23, CALLERS[2])):
        now = midnight + hour * 3600 * MICROSECONDS
        request = LoggedRequest(now, 1, line, caller, "", False)
        found.append([refusing(play, request, now) for _ in range(6)].count([]))
    assert found == [5, 2, 3]
