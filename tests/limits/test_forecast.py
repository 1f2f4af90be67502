"""A forecast says from when a request passes: at that instant it does, and not a microsecond before."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import judge
from gateway.limits.charge import Charge, Demand
from gateway.limits.forecast import forecast
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

NOW = 1_700_000_000_000_000
charges = st.builds(
    lambda tokens, burst, cost, enforced: Charge.of("limit", Quota(Rate(tokens, 60), burst), cost, enforced=enforced),
    st.integers(1, 1000), st.integers(1, 50), st.integers(0, 60), st.booleans(),
)  # fmt: skip


@given(st.lists(st.tuples(charges, st.floats(0, 1)), max_size=4))
def test_the_forecast_is_the_first_instant_at_which_the_law_allows_the_request(
    given_: list[tuple[Charge, float]],
) -> None:
    demands = [Demand(b"%d" % position, charge) for position, (charge, _) in enumerate(given_)]
    owed = [int(charge.quota.capacity * part) for charge, part in given_]
    found = forecast(demands, owed, NOW)

    def allowed(later: int) -> bool:
        return judge(demands, [max(0, debt - later) for debt in owed], NOW + later).allowed

    if found.passes_at is None:
        assert not allowed(max(owed))
        assert any(each.payable_at is None for each in found.buckets)
        return
    wait = found.passes_at - NOW
    assert allowed(wait)
    assert wait == 0 or not allowed(wait - 1)
    for (charge, _), debt, bucket in zip(given_, owed, found.buckets, strict=True):
        assert bucket.remaining == (charge.quota.capacity - debt) // charge.quota.interval
