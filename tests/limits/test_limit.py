"""Whom and what a limit counts."""

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest

from gateway.limits.caller import Caller
from gateway.limits.limit import Exemption, Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

EXEMPT = Exemption(
    frozenset({"batch", "192.0.2.9"}), networks=(IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8::/32"))
)


def caller(user: str = "", address: str | None = None) -> Caller:
    return Caller(user, b"digest", address=ip_address(address) if address else None)


@pytest.mark.parametrize(
    ("who", "exempt"),
    [
        (caller("batch"), True),
        (caller("batch", "192.0.2.1"), True),
        (caller("alice", "10.1.2.3"), True),
        (caller("alice", "2001:db8::1"), True),
        (caller("", "10.1.2.3"), True),
        (caller("alice", "192.0.2.1"), False),
        (caller("Batch", "192.0.2.1"), False),
        (caller("alice"), False),
        (caller(), False),
    ],
)
def test_an_exemption_goes_by_user_id_or_by_address(who: Caller, *, exempt: bool) -> None:
    assert EXEMPT.covers(who) is exempt


def test_an_address_does_not_pass_for_the_user_id_it_looks_like() -> None:
    assert not EXEMPT.covers(caller("", "192.0.2.9"))


def test_an_empty_user_id_exempts_nobody() -> None:
    assert not Exemption(frozenset({""})).covers(caller("", "192.0.2.1"))


def test_nobody_is_exempt_unless_said() -> None:
    assert not Exemption().covers(caller("batch", "10.0.0.1"))


def test_exempt_users_are_in_no_repr() -> None:
    assert "batch" not in repr(EXEMPT)


def test_a_limit_counts_the_endpoints_it_names_or_all() -> None:
    quota = Quota(Rate(1, 1), 1)
    named = Limit("named", per=("user",), quota=quota, endpoints=frozenset({"orders"}))
    assert named.applies_to("orders")
    assert not named.applies_to("default")
    assert Limit("all", per=("user",), quota=quota).applies_to("default")
