"""What callers were charged is counted exactly for some and within bounds for any number, in bounded memory."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.analytics.spending import Account, Spending

CHARGES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 9)), max_size=200)


def name(caller: int) -> bytes:
    return f"{caller:02}".encode()


@given(CHARGES, st.integers(0, 12), st.integers(1, 12), st.integers(1, 25))
def test_rows_add_up_to_what_was_charged_and_no_caller_is_overstated(
    charges: list[tuple[int, int, int]], counters: int, shared: int, most: int
) -> None:
    spending = Spending(counters, shared)
    accounts = [Account("orders", ["each", "all"]), Account("carts", ["each"])]
    truth: Counter[tuple[str, str]] = Counter()
    for account, caller, cost in charges:
        spending.charge(accounts[account], name(caller), cost)
        truth[accounts[account].endpoint, name(caller).decode()] += cost
    rows = spending.rows([account for account in accounts if account.total], most)
    for endpoint, limits in (("orders", ("each", "all")), ("carts", ("each",))):
        for limit in limits:
            found = {row.caller: row.cost for row in rows if (row.endpoint, row.limit) == (endpoint, limit)}
            assert sum(found.values()) == sum(cost for (where, _), cost in truth.items() if where == endpoint)
            assert len(found) <= most + 1
            assert all(cost <= truth[endpoint, caller] for caller, cost in found.items() if caller)


def test_a_flood_of_callers_that_come_once_does_not_hide_who_comes_late_and_often() -> None:
    spending, account = Spending(100, 100), Account("orders", ["each"])
    for number in range(50_000):
        spending.charge(account, b"%d" % number, 1)
        if number > 10_000 and number % 10 == 0:
            spending.charge(account, b"greedy", 5)
    first, *_ = spending.rows([account], 5)
    assert first.caller == "greedy"
    assert 19_900 - 75_000 / 100 <= first.cost <= 19_995


def test_many_endpoints_share_the_rows_of_a_batch_and_each_has_one() -> None:
    spending = Spending()
    accounts = [Account(f"e{number}", ["each"]) for number in range(300)]
    for account in accounts:
        for caller in range(4):
            spending.charge(account, name(caller), 1 + caller)
    rows = spending.rows(accounts, 50)
    assert [(row.caller, row.cost) for row in rows[:2]] == [("03", 4), ("", 6)]
    assert len(rows) == 600
