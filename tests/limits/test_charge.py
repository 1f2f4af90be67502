"""What one request costs one bucket."""

import pytest

from gateway.limits.charge import Charge, FailurePolicy
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

TEN = Quota(Rate(1, 1), 10)


def test_a_charge_carries_a_failure_policy_which_is_whole_by_default() -> None:
    assert Charge.of("limit", TEN).failure_policy is FailurePolicy.WHOLE
    assert Charge.of("limit", TEN, failure_policy=FailurePolicy.REFUSE).failure_policy is FailurePolicy.REFUSE


def test_a_cost_is_never_negative() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Charge.of("limit", TEN, -1)
