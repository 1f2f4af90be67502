"""Python and Lua agree exactly: the same demands are played to the law and to a real Redis."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from gateway.limits.bucket import State, judge, take
from gateway.limits.calendar import DAY, MONTH, WEEK, Calendar, CalendarRate
from gateway.limits.charge import Charge, Demand
from gateway.limits.debt import Debt, reconcile
from gateway.limits.quota import LARGEST_DEBT, Quota
from gateway.limits.rate import MICROSECONDS, Rate
from gateway.redis.scripts import RECONCILE, TAKE, Call, call_reconcile, call_take
from tests.fuzzing import examples
from tests.redis_server import RedisServer, every_server
from tests.set_clock import SetClock
from tests.waiting import until

_EXAMPLES = 300


@pytest.fixture(params=every_server(), scope="module")
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Redis"]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), version=request.param)
    server.launch()
    client = Redis(port=server.port, protocol=2)
    for script in (TAKE, RECONCILE):
        client.script_load(script.text)
    yield client
    client.close()
    server.close()


def now_about(redis: "Redis") -> int:
    seconds, microseconds = redis.time()
    return int(seconds) * MICROSECONDS + int(microseconds)


def run(redis: "Redis", call: Call) -> list[int]:
    reply = redis.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
    assert isinstance(reply, list)
    return reply


rates = st.builds(Rate, st.integers(1, 1_000_000), st.integers(1, 366 * 86_400))
quotas = st.builds(
    lambda rate, burst: Quota(rate, min(burst, 2**51 // rate.interval)), rates, st.integers(1, 10**12)
) | st.builds(Quota, st.sampled_from([Rate(1, 1), Rate(100, 60), Rate(7, 3)]), st.integers(1, 5))
costs = st.integers(0, 6) | st.integers(0, 10**12)
quotas |= st.builds(
    lambda tokens, calendar: Quota.each_period(CalendarRate(tokens, calendar)),
    st.integers(1, 5) | st.integers(1, 10**10),
    st.sampled_from(
        [
            Calendar(DAY, ZoneInfo("Europe/Berlin")),
            Calendar(WEEK, ZoneInfo("UTC"), 7),
            Calendar(MONTH, ZoneInfo("America/New_York"), 31),
        ]
    ),
)
keys = st.sampled_from([b"a", b"b", b"c", b"d"])


def key_of(name: bytes, quota: Quota) -> bytes:
    """As `Rules` has it: with another calendar, a limit has other buckets."""
    return name if quota.calendar is None else name + quota.calendar.key.encode()


demands = st.builds(
    lambda key, quota, cost, enforced, reserve: Demand(
        key_of(key, quota), Charge.of("x", quota, cost, enforced=enforced, reserve=reserve)
    ),
    keys, quotas, costs, st.booleans(), st.just(0.0) | st.floats(0, 0.99),
)  # fmt: skip
checks = st.lists(demands, min_size=1, max_size=4, unique_by=lambda demand: demand.key)
batches = st.lists(checks, min_size=1, max_size=5)
sequences = st.lists(batches, min_size=1, max_size=4)


@settings(examples(_EXAMPLES), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=sequences)
def test_python_and_lua_agree_on_every_demand(redis: "Redis", sequence: list[list[list[Demand]]]) -> None:
    redis.flushall()
    states: dict[bytes, State] = {}
    for batch in sequence:
        now, *owed = run(redis, call_take(b"", batch, now_about(redis)))
        at = 0
        for check in batch:
            expected, new = take(check, [states.get(each.key) for each in check], now)
            assert judge(check, owed[at : at + len(check)], now) == expected
            at += len(check)
            for demand, state in zip(check, new, strict=True):
                if state is not None:
                    states[demand.key] = state
    assert_kept(redis, states, now)


debts = st.builds(
    lambda key, quota, tokens, ago, most: (key_of(key, quota), quota, tokens, ago, most),
    keys, quotas, st.integers(-5, 5) | st.integers(-(10**12), 10**12), st.integers(-(10**7), 10**13),
    st.none() | st.just(LARGEST_DEBT),
)  # fmt: skip


@settings(examples(_EXAMPLES // 3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=batches,
    rounds=st.lists(st.lists(debts, min_size=1, max_size=4, unique_by=lambda debt: debt[0]), min_size=1, max_size=3),
    later=checks,
)
def test_python_and_lua_agree_on_every_debt(
    redis: "Redis", batch: list[list[Demand]], rounds: list[list[tuple[bytes, Quota, int, int, int | None]]],
    later: list[Demand],
) -> None:  # fmt: skip
    """Also on what is owed beyond a bucket's capacity, and on the demands that come after that."""
    redis.flushall()
    states: dict[bytes, State] = {}
    now, *_ = run(redis, call_take(b"", batch, now_about(redis)))
    for check in batch:
        _, new = take(check, [states.get(each.key) for each in check], now)
        states |= {each.key: state for each, state in zip(check, new, strict=True) if state is not None}
    for spent in rounds:
        settled = [
            Debt(key, quota, max(-LARGEST_DEBT, min(tokens * quota.interval, LARGEST_DEBT)), now + ago, now, most)
            for key, quota, tokens, ago, most in spent
        ]
        now, *owed = run(redis, call_reconcile(b"", settled))
        for debt, had in zip(settled, owed, strict=True):
            before, state = reconcile(states.get(debt.key), debt, now)
            assert had == before
            if state is not None:
                states[debt.key] = state
    assert_kept(redis, states, now)
    now, *owed = run(redis, call_take(b"", [later], now_about(redis)))
    assert judge(later, owed, now) == take(later, [states.get(each.key) for each in later], now)[0]


def assert_kept(redis: "Redis", states: dict[bytes, State], now: int) -> None:
    for key, state in states.items():
        pipeline = redis.pipeline(transaction=False)
        pipeline.get(key)
        pipeline.pttl(key)
        text, life = pipeline.execute()
        if text is None or life < 0:
            # Full by now, or so nearly that the key has expired meanwhile.
            assert state.full_at + state.rest - now < 5_000_000
        else:
            assert text == b"%d %d" % (state.full_at, state.interval)
            # At least as long as the bucket takes to fill, less what has passed since.
            assert -5_000_000 <= life * 1000 - (state.full_at + state.rest - now) <= 1_000_000


@pytest.fixture(scope="module")
def set_clock(tmp_path_factory: pytest.TempPathFactory) -> SetClock:
    return SetClock(tmp_path_factory.mktemp("clock") / "clock")


@pytest.fixture(scope="module")
def redis_with_set_clock(set_clock: SetClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Redis"]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), environment=set_clock.environment)
    server.launch()
    client = Redis(port=server.port, protocol=2)
    for script in (TAKE, RECONCILE):
        client.script_load(script.text)
    yield client
    client.close()
    server.close()


CALENDARS = [Calendar(DAY, ZoneInfo("Europe/Berlin")), Calendar(MONTH, ZoneInfo("UTC"), 15)]
near_a_start = st.tuples(st.integers(0, 3), st.integers(-3, 3), st.integers(-3, 3), st.integers(1, 3))
"""Periods to go on; seconds from the start of the period at which Redis' clock is then; by how many seconds the
gateway's clock differs from it; tokens."""


@settings(examples(_EXAMPLES // 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calendar=st.sampled_from(CALENDARS), steps=st.lists(near_a_start, min_size=2, max_size=6))
def test_python_and_lua_agree_when_redis_clock_goes_on_to_other_periods(
    redis_with_set_clock: "Redis", set_clock: SetClock, calendar: Calendar, steps: list[tuple[int, int, int, int]]
) -> None:
    """Redis' clock alone says which period it is, and no period gives more than its quota."""
    redis = redis_with_set_clock
    set_clock.step("+0s")
    redis.flushall()
    quota = Quota.each_period(CalendarRate(5, calendar))
    state, used, start = None, Counter[int](), calendar.start(time.time_ns() // 1000)
    for periods, seconds, skew, cost in steps:
        for _ in range(periods):
            start = calendar.end(start)
        set_clock.step(f"{(start // MICROSECONDS + seconds) - time.time():+.3f}s")
        demands = [Demand(b"a", Charge.of("x", quota, cost))]
        now, *owed = run(redis, call_take(b"", [demands], now_about(redis) + skew * MICROSECONDS))
        expected, (new,) = take(demands, [state], now)
        assert judge(demands, owed, now) == expected
        state = new or state
        used[calendar.start(now)] += cost if expected.allowed else 0
    assert max(used.values()) <= quota.burst


def test_what_was_spent_in_another_period_is_not_charged_to_this_one(redis: "Redis") -> None:
    """Neither tokens nor refunds: they came back, or have yet to be charged when their period begins here as well."""
    redis.flushall()
    calendar = CALENDARS[0]
    quota = Quota.each_period(CalendarRate(5, calendar))
    demands = [Demand(b"a", Charge.of("x", quota, 3))]
    now, _ = run(redis, call_take(b"", [demands], now_about(redis)))
    starts = calendar.around(now)
    for at, reply in ((starts.previous, 0), (starts.next, 5)):
        for due in (2, -2):
            assert run(redis, call_reconcile(b"", [Debt(b"a", quota, due, at=at)]))[1:] == [reply]
    assert redis.get("a") == b"%d 1" % (starts.this + 3)
    assert run(redis, call_reconcile(b"", [Debt(b"a", quota, -2, at=now)]))[1:] == [3]
    assert redis.get("a") == b"%d 1" % (starts.this + 1)
    assert run(redis, call_reconcile(b"", [Debt(b"a", quota, -2, at=now)]))[1:] == [1]
    assert redis.get("a") is None


def test_the_key_of_a_calendar_quota_expires_when_its_period_ends(redis: "Redis") -> None:
    if redis.info("server")["redis_version"].startswith("6."):
        return  # an older server cannot say when a key expires
    for calendar in CALENDARS:
        redis.flushall()
        demands = [Demand(b"a", Charge.of("x", Quota.each_period(CalendarRate(5, calendar))))]
        now, _ = run(redis, call_take(b"", [demands], now_about(redis)))
        assert redis.pexpiretime("a") == calendar.end(now) // 1000


def test_a_key_expires_at_an_instant_however_long_the_server_was_held_up_in_the_script(redis: "Redis") -> None:
    """Redis counts a time to live from when a script began; the script asks for TIME later."""
    if redis.info("server")["redis_version"].startswith("6."):
        return  # the same script; but an older server cannot say when a key expires
    redis.flushall()
    for burst in range(2, 200):
        charge = Charge.of("x", Quota(Rate(7, 3), burst), 1)
        now, owed = run(redis, call_take(b"", [[Demand(b"a", charge)]], 0))
        assert redis.pexpiretime("a") == -(-(now + owed + charge.due) // 1000)


async def test_a_key_expires_when_the_bucket_is_full(redis: "Redis") -> None:
    redis.flushall()
    quota = Quota(Rate(100, 1), 10)
    run(redis, call_take(b"", [[Demand(b"a", Charge.of("x", quota, 3))]], 0))
    assert 0 < redis.pttl(b"a") <= 31
    await until(lambda: not redis.exists(b"a"))


def test_a_cost_of_nothing_writes_nothing(redis: "Redis") -> None:
    redis.flushall()
    run(redis, call_take(b"", [[Demand(b"a", Charge.of("x", Quota(Rate(1, 1), 1), 0))]], 0))
    assert redis.dbsize() == 0


def test_an_operator_can_read_a_bucket(redis: "Redis") -> None:
    redis.flushall()
    quota = Quota(Rate(1, 3600), 10)
    now, _ = run(redis, call_take(b"p:", [[Demand(b"a", Charge.of("x", quota))]], 0))
    assert redis.get("p:a") == b"%d %d" % (now + 3_600_000_000, 3_600_000_000)


def test_what_is_not_a_bucket_is_taken_for_a_full_one(redis: "Redis") -> None:
    redis.flushall()
    redis.set("a", "nonsense")
    call = call_take(b"", [[Demand(b"a", Charge.of("x", Quota(Rate(1, 1), 1)))]], 0)
    assert run(redis, call)[1] == 0


def test_scripts_come_with_the_package() -> None:
    assert Path(TAKE.text[:2]) == Path("--")
