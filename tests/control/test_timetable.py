"""A schedule is in force when Redis' clock says so, and `GET /rules` says what is and what comes next."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.control.timetable import Timetable
from gateway.limiter.memory import MemoryLimiter
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import MICROSECONDS, Rate
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.schedule import EVERY_DAY, Scheduled, Span
from tests.auth.keys import token
from tests.control.running import DAY, gateway, limit
from tests.kit.identity import make_identity
from tests.redis.builders import demand, limiter
from tests.redis_server import redis_server
from tests.waiting import DEADLINE

WIDE = Quota(Rate(1, DAY), 8)
CALLER = make_identity(hash_key=b"k" * 16).user("ana")
HOUR = 3600 * MICROSECONDS
OTHER = [demand("other")]


def scheduled(*spans: Span) -> Limit:
    return limit("each", 3, schedule=(Scheduled(spans, WIDE),))


class Shown:
    """Metrics that record which rates they show."""

    def __init__(self) -> None:
        self.bursts: list[int] = []

    def rules(self, _revision: str, _endpoints: Any, limits: tuple[Limit, ...]) -> None:
        self.bursts += [each.quota.burst for each in limits]


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_worker_starts_with_what_is_in_force_and_says_what_comes_next(*, with_redis: bool) -> None:
    minute = datetime.now(UTC).hour * 60 + datetime.now(UTC).minute
    now = Span(EVERY_DAY, (minute - 60) % 1440, (minute + 60) % 1440)
    async with redis_server() as redis, gateway(scheduled(now), store=redis.url if with_redis else None) as running:
        assert (await running.check("alice", "default", 5))["remaining"] == 3
        rules = (await running.call("GET", "/api/v1/admin/rules", token=token("limits:read"))).body
    (shown,) = rules["limits"]
    assert (shown["burst"], shown["in_force"]["burst"]) == (3, 8)
    assert shown["schedule"][0]["burst"] == 8
    ahead = datetime.fromisoformat(rules["changes_at"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < ahead <= timedelta(minutes=60)


async def test_rules_are_replaced_at_the_instant_of_a_change_and_not_before() -> None:
    now = 1_790_000_000 // 86_400 * 86_400 * MICROSECONDS
    book = RuleBook(Rules(limits=[scheduled(Span(EVERY_DAY, 60, 120))]))
    metrics: Any = Shown()
    table = MemoryLimiter(9, lambda: now)
    timetable = Timetable(book, table, metrics)
    for ahead, burst in ((0, 3), (HOUR - 1, 3), (HOUR, 8), (2 * HOUR - 1, 8), (2 * HOUR, 3), (50 * HOUR - 1, 8)):
        now = 1_790_000_000 // 86_400 * 86_400 * MICROSECONDS + ahead
        timetable.look()
        (demand_now,) = book.current.demands(book.current.default, CALLER)
        assert demand_now.charge.quota.burst == burst
    assert metrics.bursts == [3, 8, 3, 8]


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_change_keeps_what_was_spent_and_what_is_remembered_refuses_nobody(*, with_redis: bool) -> None:
    second = 1_790_000_000 // 86_400 * 86_400
    book = RuleBook(Rules(limits=[scheduled(Span(EVERY_DAY, 60, 120))]))
    async with redis_server() as redis, limiter(redis.url if with_redis else None) as opened:
        demands = book.current.demands(book.current.default, CALLER)
        assert [(await opened.check(demands)).allowed for _ in range(4)] == [True] * 3 + [False]
        book.current = book.current.at((second + 3600) * MICROSECONDS)
        opened.forget()
        demands = book.current.demands(book.current.default, CALLER)
        assert [(await opened.check(demands)).allowed for _ in range(6)] == [True] * 5 + [False]
        if with_redis:
            redis.kill()
            async with asyncio.timeout(DEADLINE):
                while not opened.is_degraded:
                    await opened.check(OTHER)
            book.current = book.current.at((second + 7200) * MICROSECONDS)
            assert not (await opened.check(book.current.demands(book.current.default, CALLER))).allowed
