"""How fast a bucket refills and how much it holds."""

import pytest

from gateway.limits.quota import LARGEST_DEBT, Quota
from gateway.limits.rate import MICROSECONDS, Rate

LONGEST_PERIOD = 366 * 86_400


@pytest.mark.parametrize(
    ("rate", "burst"),
    [(Rate(1, LONGEST_PERIOD), 71), (Rate(1_000_000, 1), LARGEST_DEBT), (Rate(1, 1), LARGEST_DEBT // MICROSECONDS)],
)
def test_the_largest_bursts(rate: Rate, burst: int) -> None:
    assert Quota(rate, burst).capacity == burst * rate.interval
    with pytest.raises(ValueError, match="more than 71 years to refill"):
        Quota(rate, burst + 1)


@pytest.mark.parametrize("burst", [0, -1])
def test_a_burst_is_at_least_1(burst: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Quota(Rate(1, 1), burst)


def test_a_quota_reads_as_it_is_written() -> None:
    assert str(Quota(Rate(100, 60), 20)) == "100/minute burst 20"
