"""Requests that are charged together, or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import State, take
from gateway.limits.charge import Charge, Demand
from gateway.limits.joint import join
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

QUOTAS = [Quota(Rate(1, 60), burst) for burst in (5, 8)]
CHARGES = st.builds(
    lambda quota, cost, reserve: Charge.of("a", quota, cost, reserve=reserve),
    st.sampled_from(QUOTAS),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.2]),
)
REQUESTS = st.lists(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), CHARGES, max_size=3).map(
        lambda found: [Demand(key, charge) for key, charge in found.items()]
    ),
    min_size=1,
    max_size=5,
)
NOW = 2_000_000_000_000_000


@given(REQUESTS, st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 5)))
def test_requests_pass_together_only_if_each_would_pass_after_the_others(
    requests: list[list[Demand]], spent: dict[bytes, int]
) -> None:
    """They are charged what they would be charged one after the other, and nothing if one of them cannot pay."""
    before = {key: State(NOW + tokens * QUOTAS[0].interval, QUOTAS[0].interval) for key, tokens in spent.items()}
    joint = join(requests)
    assert len({each.key for each in joint.demands}) == len(joint.demands)
    decision, new = take(joint.demands, [before.get(each.key) for each in joint.demands], NOW)
    states = dict(before)
    one_by_one = True
    for request in requests:
        each, changed = take(request, [states.get(each.key) for each in request], NOW)
        one_by_one = one_by_one and each.allowed
        states |= {each.key: state for each, state in zip(request, changed, strict=True) if state is not None}
    if decision.allowed:
        assert one_by_one
        after = {each.key: state for each, state in zip(joint.demands, new, strict=True) if state is not None}
        assert before | after == states
    for number, request in enumerate(requests):
        part = joint.part(number, decision)
        assert [joint.demands[place].key for place in joint.positions[number]] == [each.key for each in request]
        assert len(part.owed) == len(request)
        assert set(part.refused) <= set(range(len(request)))


def test_one_request_is_as_it_was() -> None:
    demands = [Demand(b"a", Charge.of("a", QUOTAS[0], 3)), Demand(b"b", Charge.of("b", QUOTAS[1], 1))]
    assert join([demands]).demands == demands
