"""From a request to the buckets it pays."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.limits.caller import Caller
from gateway.limits.charge import FailurePolicy
from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.limits.limit import Exemption, Limit
from gateway.limits.path import PathPolicy
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.unmatched import Unmatched
from tests.kit.identity import make_identity

QUOTA = Quota(Rate(100, 60), 20)
LARGE = Quota(Rate(1_000, 60), 200)
IDENTITY = make_identity(hash_key=b"secret")
ALICE = IDENTITY.user("alice", "pro", address=ip_address("192.0.2.1"))
BOB = IDENTITY.user("bob", address=ip_address("10.0.0.7"))
ORDERS = Endpoint("orders", Template.parse("/orders"))
SEARCH = Endpoint("search", Template.parse("/search"), cost=5)


def limit(
    name: str = "limit",
    *,
    per: tuple[str, ...] = ("user",),
    endpoints: str = "",
    tiers: Mapping[str, Quota] | None = None,
    enforce: bool = True,
    exempt: Exemption | None = None,
) -> Limit:
    return Limit(name, per, QUOTA, frozenset(endpoints.split()), tiers or {}, enforce, exempt or Exemption())


def keys(rules: Rules, endpoint: Endpoint, caller: Caller = ALICE) -> list[bytes]:
    return [demand.key for demand in rules.demands(endpoint, caller)]


def test_a_limit_per_user_has_one_bucket_for_all_endpoints() -> None:
    rules = Rules([ORDERS, SEARCH], [limit()])
    assert keys(rules, ORDERS) == keys(rules, SEARCH) == keys(rules, rules.default) == [b"limit:*:" + ALICE.digest]
    assert keys(rules, ORDERS, BOB) != keys(rules, ORDERS)


def test_a_limit_per_endpoint_has_one_bucket_for_all_users() -> None:
    rules = Rules([ORDERS, SEARCH], [limit(per=("endpoint",))])
    assert keys(rules, ORDERS) == keys(rules, ORDERS, BOB) == [b"limit:orders:*"]
    assert keys(rules, SEARCH) == [b"limit:search:*"]


def test_a_limit_per_user_and_endpoint_has_a_bucket_for_each_pair() -> None:
    rules = Rules([ORDERS, SEARCH], [limit(per=("user", "endpoint"))])
    pairs = [(endpoint, caller) for endpoint in (ORDERS, SEARCH, rules.default) for caller in (ALICE, BOB)]
    assert len({keys(rules, endpoint, caller)[0] for endpoint, caller in pairs}) == len(pairs)


def test_a_limit_per_nothing_has_one_bucket() -> None:
    rules = Rules([ORDERS], [limit(per=())])
    assert keys(rules, ORDERS) == keys(rules, rules.default, BOB) == [b"limit:*:*"]


def test_limits_are_demanded_in_their_order() -> None:
    rules = Rules([ORDERS], [limit("b"), limit("a"), limit("c", endpoints="search")])
    assert [demand.charge.limit for demand in rules.demands(ORDERS, ALICE)] == ["b", "a"]


names = st.text(alphabet=st.sampled_from(":*%{}a%2A/ \u00e9"), min_size=1, max_size=4)
holders = st.sampled_from([(), ("user",), ("address",)])
cases = st.tuples(names, holders, st.booleans(), names, st.sampled_from(["alice", "bob", "*"]))
Case = tuple[str, tuple[str, ...], bool, str, str]


@given(cases, cases)
@example(("a:b", ("user",), True, "c", "alice"), ("a", ("user",), True, "b:c", "alice"))
@example(("a", ("user",), True, "*", "alice"), ("a", ("user",), False, "*", "alice"))
@example(("a", (), True, "*", "alice"), ("a", (), False, "*", "alice"))
@example(("a", ("user",), True, "%2A", "alice"), ("a", ("user",), True, "*", "alice"))
@example(("a", ("user",), False, "b", "*"), ("a", (), False, "b", "*"))
def test_no_two_buckets_share_a_key(one: Case, other: Case) -> None:
    """Whatever the names of limits and endpoints are."""

    def bucket(case: Case) -> tuple[object, ...]:
        name, holder, per_endpoint, endpoint, user = case
        return name, endpoint if per_endpoint else None, holder, user if holder else None

    def key(case: Case) -> bytes:
        name, holder, per_endpoint, endpoint, user = case
        entry = Endpoint(endpoint)
        rules = Rules([entry], [limit(name, per=holder + ("endpoint",) * per_endpoint)])
        # Users and addresses of the same name: the digests of the two kinds differ.
        digests = {"address": IDENTITY.digest("address", user)}
        return keys(rules, entry, replace(IDENTITY.user(user), digests=digests))[0]

    assert (key(one) == key(other)) == (bucket(one) == bucket(other))


def test_a_key_holds_no_brace_whatever_its_limit_is_called() -> None:
    """Redis Cluster would take what stands in braces for the slot."""
    braced = Endpoint("{e}")
    assert keys(Rules([braced], [limit("{l}", per=("endpoint",))]), braced) == [b"%7Bl%7D:%7Be%7D:*"]


@given(st.text(min_size=3))
def test_no_key_holds_a_user_id(user: str) -> None:
    rules = Rules([ORDERS], [limit("1", per=("user", "endpoint")), limit("2")])
    caller = IDENTITY.user(user)
    head = {b"1:orders:", b"2:*:"}
    assert {key.removesuffix(caller.digest) for key in keys(rules, ORDERS, caller)} == head
    assert len(caller.digest) == 32
    assert set(caller.digest) <= set(b"0123456789abcdef")


def test_a_plan_has_its_own_quota_in_the_same_bucket() -> None:
    rules = Rules([ORDERS], [limit(tiers={"pro": LARGE})])
    quotas = {
        tier: rules.demands(ORDERS, IDENTITY.user("alice", tier))[0].charge.quota for tier in ("pro", "free", "", None)
    }
    assert quotas == {"pro": LARGE, "free": QUOTA, "": QUOTA, None: QUOTA}
    assert keys(rules, ORDERS, IDENTITY.user("alice", "pro")) == keys(rules, ORDERS, IDENTITY.user("alice"))


@pytest.mark.parametrize("tiers", [{}, {"pro": LARGE}])
def test_an_endpoint_sets_the_cost_and_a_limit_the_rest(tiers: dict[str, Quota]) -> None:
    rules = Rules([SEARCH], [limit(tiers=tiers)])
    (demand,) = rules.demands(SEARCH, ALICE)
    quota = LARGE if tiers else QUOTA
    assert (demand.charge.limit, demand.charge.quota, demand.charge.cost) == ("limit", quota, 5)
    assert demand.charge.due == 5 * quota.interval
    assert demand.charge.enforced


def test_a_shadow_limit_demands_without_force() -> None:
    rules = Rules([ORDERS], [limit(enforce=False, tiers={"pro": LARGE})])
    assert [rules.demands(ORDERS, caller)[0].charge.enforced for caller in (ALICE, BOB)] == [False, False]


@pytest.mark.parametrize("policy", list(FailurePolicy))
def test_a_charge_carries_the_failure_policy_of_its_limit(policy: FailurePolicy) -> None:
    rules = Rules([ORDERS], [Limit("limit", per=("user",), quota=QUOTA, when_redis_is_down=policy)])
    assert rules.demands(ORDERS, ALICE)[0].charge.failure_policy is policy


def test_who_is_exempt_pays_the_other_limits_only() -> None:
    rules = Rules(
        [ORDERS],
        [
            limit("users", exempt=Exemption(frozenset({"alice"}))),
            limit("networks", exempt=Exemption(networks=(IPv4Network("10.0.0.0/8"),))),
            limit("all"),
        ],
    )
    assert [demand.charge.limit for demand in rules.demands(ORDERS, ALICE)] == ["networks", "all"]
    assert [demand.charge.limit for demand in rules.demands(ORDERS, BOB)] == ["users", "all"]


def test_what_no_limit_counts_demands_nothing() -> None:
    rules = Rules([ORDERS, SEARCH], [limit(endpoints="search")])
    assert rules.demands(ORDERS, ALICE) == []
    assert rules.demands(rules.default, ALICE) == []


def test_the_default_endpoint_takes_what_is_left() -> None:
    rules = Rules([ORDERS])
    assert rules.match("GET", "any.test", "/nothing") is rules.default
    assert rules.endpoints == {"orders": ORDERS, DEFAULT: Endpoint(DEFAULT)}


def test_the_default_endpoint_can_have_a_cost_and_limits_of_its_own() -> None:
    costly = Endpoint(DEFAULT, cost=3)
    rules = Rules([ORDERS, costly], [limit("rest", per=("user", "endpoint"), endpoints=DEFAULT), limit("all")])
    assert rules.match("GET", "any.test", "/nothing") is costly
    assert keys(rules, costly) == [b"rest:default:" + ALICE.digest, b"all:*:" + ALICE.digest]
    assert [demand.charge.cost for demand in rules.demands(costly, ALICE)] == [3, 3]
    assert keys(rules, ORDERS) == [b"all:*:" + ALICE.digest]


def test_rules_without_anything_let_everything_pass() -> None:
    rules = Rules()
    assert rules.match("GET", "", "/") is rules.default
    assert rules.demands(rules.default, ALICE) == []
    assert (rules.limits, rules.revision, rules.clashes) == ((), "", [])


def test_a_request_is_matched_by_the_canonical_form_of_its_path() -> None:
    rules = Rules([ORDERS])
    assert rules.match("GET", "any.test", "//%4Frders/;x=y") is ORDERS
    assert rules.match("GET", "any.test", "/x/../orders") is Unmatched.PATH


def test_paths_and_literals_are_compared_in_the_same_case() -> None:
    upper = Endpoint("upper", Template.parse("/Orders"))
    assert Rules([upper]).match("GET", "", "/oRDERS") is upper
    exact = Rules([upper, ORDERS], paths=PathPolicy(case_sensitive=True), revision="abc")
    assert exact.match("GET", "", "/Orders") is upper
    assert exact.match("GET", "", "/orders") is ORDERS
    assert exact.match("GET", "", "/oRDERS") is exact.default
    assert (exact.clashes, exact.revision) == ([], "abc")


def test_clashes_are_told() -> None:
    twin = Endpoint("twin", Template.parse("/ORDERS"))
    assert Rules([ORDERS, twin]).clashes == [(ORDERS, twin)]


def test_a_rule_book_is_a_cell() -> None:
    book = RuleBook(Rules(revision="1"))
    book.current = Rules(revision="2")
    assert book.current.revision == "2"
