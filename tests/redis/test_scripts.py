"""Python and Lua agree exactly: the same demands are played to the law and to a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from gateway.limits.bucket import Charge, Demand, Quota, State, judge, owe, take
from gateway.limits.rate import Rate
from gateway.redis.scripts import RECONCILE, TAKE, Call, Debt, call_reconcile, call_take
from tests.fuzzing import examples
from tests.redis_server import RedisServer, every_server
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


def run(redis: "Redis", call: Call) -> list[int]:
    reply = redis.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
    assert isinstance(reply, list)
    return reply


rates = st.builds(Rate, st.integers(1, 1_000_000), st.integers(1, 366 * 86_400))
quotas = st.builds(
    lambda rate, burst: Quota(rate, min(burst, 2**51 // rate.interval)), rates, st.integers(1, 10**12)
) | st.builds(Quota, st.sampled_from([Rate(1, 1), Rate(100, 60), Rate(7, 3)]), st.integers(1, 5))
costs = st.integers(0, 6) | st.integers(0, 10**12)
keys = st.sampled_from([b"a", b"b", b"c", b"d"])
demands = st.builds(
    lambda key, quota, cost, enforced: Demand(key, Charge.of("x", quota, cost, enforced=enforced)),
    keys, quotas, costs, st.booleans(),
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
        now, *owed = run(redis, call_take(b"", batch))
        at = 0
        for check in batch:
            expected, new = take(check, [states.get(key) for key, _ in check], now)
            assert judge(check, owed[at : at + len(check)], now) == expected
            at += len(check)
            for (key, _), state in zip(check, new, strict=True):
                if state is not None:
                    states[key] = state
    assert_kept(redis, states, now)


debts = st.builds(
    lambda key, quota, tokens, ago: (key, quota, tokens, ago),
    keys, quotas, st.integers(-5, 5), st.integers(-(10**7), 10**13),
)  # fmt: skip


@settings(examples(_EXAMPLES // 2), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=batches, owing=st.lists(debts, min_size=1, max_size=4, unique_by=lambda debt: debt[0]))
def test_python_and_lua_agree_on_reconciliation(
    redis: "Redis", batch: list[list[Demand]], owing: list[tuple[bytes, Quota, int, int]]
) -> None:
    redis.flushall()
    states: dict[bytes, State] = {}
    now, *_ = run(redis, call_take(b"", batch))
    for check in batch:
        _, new = take(check, [states.get(key) for key, _ in check], now)
        states |= {key: state for (key, _), state in zip(check, new, strict=True) if state is not None}
    settled = [Debt(key, quota, tokens * quota.interval, now + ago) for key, quota, tokens, ago in owing]
    now, *owed = run(redis, call_reconcile(b"", settled))
    for debt, had in zip(settled, owed, strict=True):
        before = owe(states.get(debt.key), debt.quota, now)
        known = max(before, min(debt.known_full_at - now, debt.quota.capacity))
        assert had == known
        owes = max(0, min(known + debt.due, debt.quota.capacity))
        if owes != before:
            states[debt.key] = State(now + owes, debt.quota.interval)
    assert_kept(redis, states, now)


def assert_kept(redis: "Redis", states: dict[bytes, State], now: int) -> None:
    for key, state in states.items():
        pipeline = redis.pipeline(transaction=False)
        pipeline.get(key)
        pipeline.pttl(key)
        text, life = pipeline.execute()
        if text is None or life < 0:
            # Full by now, or so nearly that the key has expired meanwhile.
            assert state.full_at - now < 5_000_000
        else:
            assert text == b"%d %d" % state
            # At least as long as the bucket takes to fill, less what has passed since.
            assert -5_000_000 <= life * 1000 - (state.full_at - now) <= 1_000_000


def test_a_key_expires_at_an_instant_however_long_the_server_was_held_up_in_the_script(redis: "Redis") -> None:
    """Redis counts a time to live from when a script began; the script asks for TIME later."""
    if redis.info("server")["redis_version"].startswith("6."):
        return  # the same script; but an older server cannot say when a key expires
    redis.flushall()
    for burst in range(2, 200):
        charge = Charge.of("x", Quota(Rate(7, 3), burst), 1)
        now, owed = run(redis, call_take(b"", [[Demand(b"a", charge)]]))
        assert redis.pexpiretime("a") == -(-(now + owed + charge.due) // 1000)


async def test_a_key_expires_when_the_bucket_is_full(redis: "Redis") -> None:
    redis.flushall()
    quota = Quota(Rate(100, 1), 10)
    run(redis, call_take(b"", [[Demand(b"a", Charge.of("x", quota, 3))]]))
    assert 0 < redis.pttl(b"a") <= 31
    await until(lambda: not redis.exists(b"a"))


def test_a_cost_of_nothing_writes_nothing(redis: "Redis") -> None:
    redis.flushall()
    run(redis, call_take(b"", [[Demand(b"a", Charge.of("x", Quota(Rate(1, 1), 1), 0))]]))
    assert redis.dbsize() == 0


def test_an_operator_can_read_a_bucket(redis: "Redis") -> None:
    redis.flushall()
    quota = Quota(Rate(1, 3600), 10)
    now, _ = run(redis, call_take(b"p:", [[Demand(b"a", Charge.of("x", quota))]]))
    assert redis.get("p:a") == b"%d %d" % (now + 3_600_000_000, 3_600_000_000)


def test_what_is_not_a_bucket_is_taken_for_a_full_one(redis: "Redis") -> None:
    redis.flushall()
    redis.set("a", "nonsense")
    call = call_take(b"", [[Demand(b"a", Charge.of("x", Quota(Rate(1, 1), 1)))]])
    assert run(redis, call)[1] == 0


def test_scripts_come_with_the_package() -> None:
    assert Path(TAKE.text[:2]) == Path("--")
