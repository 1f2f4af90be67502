"""Which host a request names, however it is spelled."""

import pytest

from gateway.proxy.bad_request import BadRequest
from gateway.proxy.target import parse_host, parse_target


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("API.example.:80", "api.example"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]:8080", "[::1]"),
        ("[2001:DB8::00:1]", "[2001:db8::1]"),
        ("[:::1]", None),
        ("[192.0.2.1]", None),
        ("[::1%25eth0]", None),
    ],
)
def test_a_host_has_one_name(authority: str, host: str | None) -> None:
    assert parse_host(authority) == host


def test_the_upstream_is_sent_the_host_as_it_came() -> None:
    target = parse_target("http://[0:0::1]:80/x", ["other.test"])
    assert not isinstance(target, BadRequest)
    assert (target.host, target.authority, target.origin_form) == ("[::1]", "[0:0::1]:80", "/x")
