"""`doors`: where other proxies ask."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.settings.door import Doors, ExtAuthz, ForwardAuth, RateLimit
from gateway.settings.listener import Listener
from tests.config.reading import gateway_problems, gateway_warnings, load_gateway_text, write_certificates

HERE = (ip_network("127.0.0.1/32"),)


def test_without_the_section_there_is_no_door(tmp_path: Path) -> None:
    settings = load_gateway_text(tmp_path, "").settings
    assert settings.doors == Doors()
    assert list(settings.listeners) == ["public", "control"]


def test_a_door_needs_no_more_than_who_may_ask(tmp_path: Path) -> None:
    text = "doors: {forward_auth: {from: [127.0.0.1]}, ext_authz: {from: [unix]}}\n"
    settings = load_gateway_text(tmp_path, text).settings
    assert settings.doors == Doors(ForwardAuth(HERE), ExtAuthz(("unix",)))
    assert settings.listeners["forward_auth"] == (Listener(port=8082),)
    assert settings.listeners["ext_authz"] == (Listener(port=8083),)


def test_descriptors_may_have_other_keys(tmp_path: Path) -> None:
    text = "doors: {rate_limit: {from: [unix], descriptors: {database: endpoint, client_id: user}}}\n"
    settings = load_gateway_text(tmp_path, text).settings
    assert settings.doors.rate_limit == RateLimit(
        ("unix",), (Listener(port=8084),), {"database": "endpoint", "client_id": "user"}
    )


def test_without_its_packages_the_rate_limit_service_cannot_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.config.door.find_spec", lambda _: None)
    (problem,) = gateway_problems(tmp_path, "doors: {rate_limit: {from: [unix]}}\n")
    assert "install the extra grpc" in problem


def test_all_that_can_be_set(tmp_path: Path) -> None:
    text = (
        "doors: {forward_auth: {from: [127.0.0.1, 10.0.0.0/8], listen: [unix:/run/door.sock, 127.0.0.1:9],"
        " request_headers: x_original_url, refuse_with: 403, response_headers: {X-Caller: caller, X-Tier: tier}}}\n"
    )
    assert load_gateway_text(tmp_path, text).settings.doors.forward_auth == ForwardAuth(
        (*HERE, ip_network("10.0.0.0/8")),
        (Listener(port=8082, unix="/run/door.sock"), Listener(port=9)),
        "x_original_url",
        403,
        {"X-Caller": "caller", "X-Tier": "tier"},
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{forward_auth: {}}", "1:23: doors.forward_auth: the key 'from' is missing"),
        ("{ext_authz: {from: []}}", "1:27: doors.ext_authz.from: the list is empty"),
        ("{forward_auth: {from: [10.0.0.1/8]}}", "bits set after its prefix (did you mean 10.0.0.0/8?)"),
        ("{ext_authz: {from: [unix], refuse_with: 403}}", "unknown key 'refuse_with'"),
        ("{forward_auth: {from: [unix], refuse_with: 404}}", "404 is not one of the options; write 429, or 403 or 401"),
        ("{forward_auth: {from: [unix], request_headers: x-forwarded}}", "(did you mean 'x_forwarded'?)"),
        ("{forward_auth: {from: [unix], response_headers: {X-Caller: user}}}", "'user' is not one of the options"),
        (
            "{forward_auth: {from: [unix], response_headers: {Set-Cookie: caller}}}",
            "Set-Cookie has a meaning of its own",
        ),
        ("{forward_auth: {from: [unix], response_headers: {'X-A: b': caller}}}", "is not the name of a header"),
        ("{forward_auth: {from: [unix], response_headers: {X-A: tier, x-a: caller}}}", "x-a is there twice"),
        ("{rate_limit: {from: [unix], descriptors: {a: Client}}}", "'Client' is not the name of an attribute"),
        ("{rate_limit: {from: [unix], listen: {tls: {certificate: cert.pem, key: key.pem}}}}", "rate_limit has no TLS"),
        ("{ext_authz: {from: [unix], listen: {proxy_protocol: [10.0.0.1]}}}", "does not read the PROXY protocol"),
        (
            "{forward_auth: {from: [unix], listen: 127.0.0.1:8080}}",
            "forward_auth cannot listen where the public port does",
        ),
        (
            "{forward_auth: {from: [unix], listen: 0.0.0.0:8081}}",
            "forward_auth cannot listen where the control plane does",
        ),
        (
            "{forward_auth: {from: [unix]}, ext_authz: {from: [unix], listen: 127.0.0.1:8082}}",
            "where forward_auth does",
        ),
    ],
)
def test_mistakes_say_where_and_what(tmp_path: Path, text: str, problem: str) -> None:
    write_certificates(tmp_path, "cert.pem", "key.pem")
    found = gateway_problems(tmp_path, f"doors: {text}\n")
    assert any(problem in each for each in found), found


def test_a_cost_that_only_a_response_tells_is_warned_of_where_no_door_sees_one(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("endpoints: [{name: login, path: /login, cost: {charge_on: [401]}}]\n")
    (warning,) = gateway_warnings(tmp_path, "rules: rules.yaml\ndoors: {ext_authz: {from: [192.0.2.1]}}\n")
    assert warning == (
        "gateway.yaml:2:8: doors: the cost of login is known only from responses, which no door sees: "
        "where another proxy asks, the estimate stays charged"
    )


def test_a_door_for_everybody_is_warned_of(tmp_path: Path) -> None:
    (warning,) = gateway_warnings(tmp_path, "doors: {ext_authz: {from: [0.0.0.0/0]}}\n")
    assert warning.startswith("gateway.yaml:1:27: doors.ext_authz.from: everybody who reaches this listener may ask")
