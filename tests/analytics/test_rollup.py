"""The roll-up counts every decision once, in a bounded number of rows."""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from gateway.analytics.batch import Batch, Row
from gateway.analytics.rollup import MORE, Rollup
from gateway.limits.at_once import AtOnce
from gateway.limits.caller import Caller
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity import Identity
from gateway.limits.limit import Limit
from gateway.limits.measured_cost import MeasuredCost
from gateway.limits.override import Effect, Override, Overrides
from gateway.limits.quota import Quota
from gateway.limits.remaining import with_weight
from gateway.limits.rules import RuleBook, Rules
from tests.analytics.builders import EACH, MINUTE, QUOTA, SHADOW, book, caller


def rollup(rules: RuleBook, **options: int) -> Rollup:
    return Rollup(rules, MINUTE + 30, **{"top_callers": 10, **options})


def count(
    counting: Rollup, rules: RuleBook, who: Caller, outcome: str, *refused: int, endpoint: str = "orders"
) -> None:
    demands = rules.current.demands(rules.current.endpoints[endpoint], who)
    counting.count(endpoint, who, demands, outcome, refused)


def cut(counting: Rollup) -> Batch:
    batch = counting.cut(MINUTE + 60)
    assert batch is not None
    return batch


def test_a_decision_is_counted_for_the_request_and_for_each_limit() -> None:
    rules = book()
    counting = rollup(rules)
    count(counting, rules, caller(), "allowed")
    count(counting, rules, caller(), "allowed", 1)
    count(counting, rules, caller(), "refused", 0)
    count(counting, rules, caller(), "unavailable")
    batch = cut(counting)
    assert batch.minute == MINUTE
    assert batch.requests == 4
    assert batch.counts == {
        Row("orders", "", "", "allowed"): 2,
        Row("orders", "", "", "refused"): 1,
        Row("orders", "", "", "unavailable"): 1,
        Row("orders", "each", "", "allowed"): 2,
        Row("orders", "each", "", "refused"): 1,
        Row("orders", "each", "", "unavailable"): 1,
        Row("orders", "shadow", "", "allowed"): 2,
        Row("orders", "shadow", "", "shadow_refused"): 1,
        Row("orders", "shadow", "", "unavailable"): 1,
    }


def test_callers_that_enforced_limits_refused_are_listed_by_digest() -> None:
    rules = book()
    counting = rollup(rules, top_callers=2)
    for user, times in (("ana", 3), ("bob", 1), ("cleo", 2)):
        for _ in range(times):
            count(counting, rules, caller(user), "refused", 0, 1)
    digests = [caller(user).digest.decode() for user in ("ana", "cleo")]
    assert [tuple(hit) for hit in cut(counting).hits] == [("each", digests[0], 3), ("each", digests[1], 2)]


def test_callers_that_were_allowed_are_listed_by_what_each_limit_charged_them() -> None:
    """A shadow limit that could not be paid did not charge, and who was refused was charged nothing."""
    rules = book()
    counting = rollup(rules)
    for user, tier, times in (("ana", None, 3), ("bob", "gold", 1), ("ana", "gold", 2)):
        for _ in range(times):
            count(counting, rules, caller(user, tier), "allowed")
    count(counting, rules, caller("bob"), "allowed", 1)
    count(counting, rules, caller("cleo"), "refused", 0)
    ana, bob = (caller(user).digest.decode() for user in ("ana", "bob"))
    assert sorted(map(tuple, cut(counting).spent)) == sorted(
        [("orders", "each", ana, 5), ("orders", "each", bob, 2),
         ("orders", "shadow", ana, 5), ("orders", "shadow", bob, 1)]
    )  # fmt: skip


def test_what_was_charged_is_the_cost_and_all_others_are_one_row() -> None:
    rules = book(EACH)
    counting = rollup(rules, top_callers=1)
    for user, cost in (("ana", 2), ("bob", 300), ("cleo", 5), ("dan", 0)):
        demands = with_weight(rules.current.demands(rules.current.default, caller(user)), cost)
        counting.count("default", caller(user), demands, "allowed", ())
    bob = caller("bob").digest.decode()
    assert [tuple(spent) for spent in cut(counting).spent] == [
        ("default", "each", bob, 300),
        ("default", "each", "", 7),
    ]


def test_what_is_known_only_afterwards_is_counted_when_it_is_known() -> None:
    """The decision counts at once; its cost when the request has ended, for the buckets that were charged."""
    measured = Endpoint("orders", Template.parse("/orders"), cost=20, measured_cost=MeasuredCost(20, per=1))
    rules = RuleBook(Rules([measured], [EACH, SHADOW]))
    counting = rollup(rules)
    who = caller("ana")
    for cost, refused in ((7, ()), (0, ()), (300, (1,))):
        demands = rules.current.demands(measured, who)
        counting.count("orders", who, demands, "allowed", refused)
        counting.count_cost("orders", who, demands, refused, cost)
    digest = who.digest.decode()
    batch = cut(counting)
    assert sorted(map(tuple, batch.spent)) == [("orders", "each", digest, 307), ("orders", "shadow", digest, 7)]
    assert batch.counts[Row("orders", "each", "", "allowed")] == 3


def test_requests_at_once_have_no_price_and_are_counted_like_any_limit() -> None:
    at_once = Limit("at-once", ("user",), Quota(AtOnce(), 2))
    rules = book(at_once, EACH)
    counting = rollup(rules)
    who = caller("ana")
    demands = with_weight(rules.current.demands(rules.current.default, who), 5)
    counting.count("default", who, demands, "allowed", ())
    counting.count("default", who, demands, "refused", (0,))
    batch = cut(counting)
    assert [tuple(spent) for spent in batch.spent] == [("default", "each", who.digest.decode(), 5)]
    assert batch.counts[Row("default", "at-once", "", "refused")] == 1


def test_a_reload_in_between_loses_nothing_of_what_was_charged() -> None:
    rules = book(EACH)
    counting = rollup(rules)
    count(counting, rules, caller(), "allowed")
    rules.current = book(replace(EACH, tiers={})).current
    count(counting, rules, caller(), "allowed")
    assert [spent.cost for spent in cut(counting).spent] == [2]


def test_a_tier_is_one_that_a_limit_names_or_an_override_sets() -> None:
    rules = book()
    counting = rollup(rules)
    for number in range(100):
        count(counting, rules, caller("ana", f"invented-{number}"), "allowed")
    count(counting, rules, caller("ana", "gold"), "allowed")
    assert {row.tier for row in cut(counting).counts} == {"(other)", "gold"}

    who = caller("ana", "silver")
    override = Override(Effect.TIER, 2**60, "a gift", endpoints=frozenset({"orders"}), tier="gold")
    rules.current = rules.current.with_overrides(Overrides({who.digest: override}))
    count(counting, rules, who, "allowed")
    assert {row.tier for row in cut(counting).counts} == {"gold"}
    count(counting, rules, who, "allowed", endpoint="default")
    assert {row.tier for row in cut(counting).counts} == {"(other)"}


def test_decisions_beyond_the_most_groups_are_added_up_and_none_is_lost() -> None:
    names = [f"e{number}" for number in range(50)]
    rules = book(endpoints=names)
    counting = rollup(rules, most_groups=20)
    for name in names * 2:
        count(counting, rules, caller(), "refused", 0, endpoint=name)
    batch = cut(counting)
    assert batch.requests == 100
    assert batch.counts[Row(MORE, "", "", "refused")] == 60
    assert batch.counts[Row(MORE, MORE, "", "refused")] == 60
    assert len(batch.counts) == 20 * 3 + 3


def test_after_a_reload_a_limit_is_counted_as_what_it_is_now() -> None:
    rules = book(EACH)
    counting = rollup(rules)
    count(counting, rules, caller(), "refused", 0)
    rules.current = book(replace(EACH, enforce=False)).current
    count(counting, rules, caller(), "allowed", 0)
    batch = cut(counting)
    assert batch.counts[Row("orders", "each", "", "refused")] == 1
    assert batch.counts[Row("orders", "each", "", "shadow_refused")] == 1


def test_without_decisions_there_is_no_batch_and_a_cut_starts_from_zero() -> None:
    rules = book()
    counting = rollup(rules)
    assert counting.cut(MINUTE + 60) is None
    count(counting, rules, caller(), "refused", 0)
    assert (counting.is_due(MINUTE + 119), counting.is_due(MINUTE + 120), counting.is_due(MINUTE)) == (
        False,
        True,
        True,
    )
    first = counting.cut(MINUTE + 120)
    assert first is not None
    assert (first.minute, first.requests, len(first.hits)) == (MINUTE + 60, 1, 1)
    assert counting.cut(MINUTE + 121) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["ana", "bob"]), st.sampled_from([None, "gold", "x"]), st.sets(st.integers(0, 1)))
    ),
    st.integers(1, 20),
)
def test_rows_add_up_to_the_decisions_whatever_the_room(
    decisions: list[tuple[str, str | None, set[int]]], most_groups: int
) -> None:
    rules = book(EACH, SHADOW, Limit("third", per=("user", "endpoint"), quota=QUOTA))
    counting = rollup(rules, most_groups=most_groups)
    for user, tier, refused in decisions:
        count(counting, rules, caller(user, tier), "refused" if 0 in refused else "allowed", *sorted(refused))
    batch = counting.cut(MINUTE)
    counts = batch.counts if batch else {}
    assert sum(times for row, times in counts.items() if not row.limit) == len(decisions)
    assert sum(times for row, times in counts.items() if row.limit) == 3 * len(decisions)


def test_who_is_refused_by_a_limit_per_address_is_counted_by_address() -> None:
    rules = book(EACH, Limit("place", per=("address",), quota=QUOTA))
    counting = rollup(rules)
    place = Identity((), (), b"").client(ip_address("192.0.2.1"))
    for user in ("ana", "bob"):
        who = replace(caller(user), digests={"address": place.digest})
        count(counting, rules, who, "refused", 1)
        count(counting, rules, who, "refused", 0)
    hits = {(hit.limit, hit.caller): hit.times for hit in cut(counting).hits}
    assert hits.pop(("place", place.digest.decode())) == 2
    assert hits == {("each", caller(user).digest.decode()): 1 for user in ("ana", "bob")}
