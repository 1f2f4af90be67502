"""`gateway explain` says which rules apply to a request, and why, as the proxy would have it."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme

from gateway.commands.cli import main
from tests.config.reading import write_certificates
from tests.kit.identity import make_identity
from tests.proxy.keys import Clients

SECRET = "0123456789abcdef0123456789abcdef"
RULES = """\
endpoints:
  - {name: read-order, methods: [GET], path: "/v1/orders/{id}"}
  - {name: create-order, methods: [POST], path: /v1/orders, cost: 5, max_body: 1KiB}
  - {name: latest, path: /v1/orders/latest}
  - {name: shop, host: shop.example, path: "/{rest...}"}
  - {name: export, path: /export, cost: 200}
  - {name: report, path: /report}
  - {name: report-csv, path: /report, query: {format: [csv, xlsx]}}
  - {name: report-2, path: /report, query: {format: json}, headers: {X-Beta: "1"}}
limits:
  - {name: everyone, per: user, rate: 600/minute, burst: 100, tiers: {gold: {rate: 1200/minute, burst: 300}}}
  - {name: total, per: endpoint, rate: 50/s, endpoints: [read-order], exempt: {users: [bob]}}
  - {name: trial, per: address, rate: 5/s, enforce: false}
block: {users: [mallory], networks: [203.0.113.0/24]}
"""
SETTINGS = f"""\
upstreams: {{default: {{urls: [http://127.0.0.1:9]}}}}
rules: rules.yaml
identity:
  hash_key_env: HASH_KEY
  trusted_proxies: [10.0.0.1]
  sources:
    - trusted_header: {{header: X-User-Id, tier_header: X-Plan}}
    - jwt:
        claim: user.id
        tier_claim: plan
        keys: [{{kid: one, algorithm: HS256, secret_env: TOKEN_KEY}}]
    - api_key: {{header: X-Api-Key, keys: [{{user: robot, tier: gold, sha256: {"0" * 64}}}]}}
    - client_certificate: {{name: uri}}
    - client_address
listen: {{tls: {{certificate: server.pem, key: server.pem, client_ca: server.pem}}}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HASH_KEY", "0123456789abcdef")
    monkeypatch.setenv("TOKEN_KEY", SECRET)
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "gateway.yaml").write_text(SETTINGS)
    write_certificates(tmp_path, "server.pem")
    return tmp_path


Printed = pytest.CaptureFixture[str]


def explained(capsys: Printed, *arguments: str) -> dict[str, Any]:
    code = main(["explain", *arguments, "--config", "gateway.yaml", "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    document: dict[str, Any] = json.loads(printed.out)
    return document


def limits(document: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    return [(each["limit"], each["rate"], each["burst"], each["cost"]) for each in document["buckets"]]


def test_the_path_is_canonical_and_the_endpoint_has_its_runners_up(capsys: Printed) -> None:
    document = explained(capsys, "GET /V1//orders/%6Catest/?x=1")
    assert document["request"] == {"method": "GET", "host": "", "path": "/v1/orders/latest"}
    assert document["endpoint"]["name"] == "latest"
    assert {each["name"]: each["why"] for each in document["runners_up"]} == {
        "read-order": "at segment 3, the literal latest in latest beats {id}",
        "shop": "it is for the host shop.example, and the request names no host",
    }


@pytest.mark.parametrize("request_line", ["GET http://Shop.Example:80/v1/orders/7", "GET /v1/orders/7"])
def test_the_host_is_that_of_the_url_or_the_header(capsys: Printed, request_line: str) -> None:
    document = explained(capsys, request_line, "--header", "Host: shop.example.")
    assert document["request"]["host"] == "shop.example"
    assert document["endpoint"]["name"] == "shop"


def test_headers_and_query_decide_where_endpoints_have_conditions(capsys: Printed) -> None:
    document = explained(capsys, "GET /report?format=csv", "--header", "X-Beta: 1")
    assert (document["endpoint"]["name"], document["endpoint"]["query"]) == ("report-csv", {"format": ["csv", "xlsx"]})
    assert {each["name"]: each["why"] for each in document["runners_up"]} == {
        "report": "the request meets the conditions of report-csv, and this one has none",
        "report-2": "it needs the query key format to be json, and the request has another value",
        "shop": "it is for the host shop.example, and the request names no host",
    }
    main(["explain", "GET /report?format=json", "--header", "x-beta: 1", "--config", "gateway.yaml"])
    printed = capsys.readouterr().out
    assert "report-2: any method /report if the header X-Beta is 1 and the query key format is json\n" in printed


def test_what_no_condition_can_read_in_one_way_is_named(capsys: Printed) -> None:
    twice = ("--header", "X-Beta: 1", "--header", "x-beta: 2")
    document = explained(capsys, "GET /report?format=csv&Format=json", *twice)
    assert (document["served"], document["status"], document["reason"]) == (False, 400, "condition")
    assert document["why"].endswith("read it in different ways: the header X-Beta, the query key format")
    assert explained(capsys, "GET /export?format=csv&Format=json", *twice)["served"]


def test_a_user_is_charged_by_tier_and_not_where_exempt(capsys: Printed) -> None:
    gold = explained(capsys, "GET /v1/orders/7", "--user", "ana", "--tier", "gold", "--address", "192.0.2.7")
    assert limits(gold) == [("everyone", "1200/minute", 300, 1), ("total", "50/s", 50, 1), ("trial", "5/s", 5, 1)]
    assert [each["shared"] for each in gold["buckets"]] == [False, True, False]
    assert [each["enforced"] for each in gold["buckets"]] == [True, True, False]
    identity = make_identity(hash_key=b"0123456789abcdef")
    assert gold["caller"]["caller"] == identity.user("ana").digest.decode()
    assert (gold["caller"]["source"], gold["caller"]["tier"]) == ("given", "gold")
    bob = explained(capsys, "GET /v1/orders/7", "--user", "bob")
    assert (bob["exempt_from"], [name for name, *_ in limits(bob)]) == (["total"], ["everyone", "trial"])


def test_a_cost_that_no_bucket_can_pay_is_said(capsys: Printed) -> None:
    document = explained(capsys, "GET /export", "--user", "ana")
    assert [(each["limit"], each["payable"]) for each in document["buckets"]] == [("everyone", False), ("trial", False)]
    main(["explain", "GET /export", "--user", "ana", "--config", "gateway.yaml"])
    assert "never passes: it costs more than the bucket holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    "who", [("--user", "mallory"), ("--address", "203.0.113.9"), ("--user", "ana", "--address", "203.0.113.9")]
)
def test_who_is_blocked_is_charged_nothing(capsys: Printed, who: tuple[str, ...]) -> None:
    document = explained(capsys, "GET /v1/orders/7", *who)
    assert (document["blocked"], document["buckets"]) == (True, [])
    assert [each["effect"] for each in document["overrides"]] == ["block"]


def test_each_source_says_what_it_read_or_why_it_did_not_know_the_caller(capsys: Printed) -> None:
    header = ("--header", "X-User-Id: ana", "--header", "X-Plan: gold")
    trusted = explained(capsys, "GET /", *header, "--address", "10.0.0.1")["caller"]
    assert (trusted["user"], trusted["tier"], trusted["source"]) == ("ana", "gold", "trusted_header")
    assert [each["why"] for each in trusted["attempts"]] == ["X-User-Id names the user, and the header X-Plan the tier"]
    stranger = explained(
        capsys, "GET /", *header, "--address", "192.0.2.7",
        "--header", "Authorization: Basic eA==", "--header", "X-Api-Key: guess",
    )["caller"]  # fmt: skip
    assert (stranger["user"], stranger["address"], stranger["source"]) == (None, "192.0.2.7", "client_address")
    assert [(each["source"], each["identified"], each["why"]) for each in stranger["attempts"]] == [
        ("trusted_header", False, "X-User-Id came from a peer that is not trusted"),
        ("jwt", False, "Authorization has another scheme than Bearer"),
        ("api_key", False, "the key in X-Api-Key is unknown"),
        ("client_certificate", False, "the connection has no client certificate"),
    ]
    nothing = explained(capsys, "GET /", "--address", "10.0.0.1", "--header", "X-Forwarded-For: 198.51.100.7")
    assert nothing["caller"]["address"] == "198.51.100.7"
    assert nothing["caller"]["attempts"][0]["why"] == "the request has no X-User-Id"


def test_a_client_certificate_names_the_user(folder: Path, capsys: Printed) -> None:
    clients = Clients(trustme.CA())
    clients.issue(folder / "client.pem", uris=["spiffe://example.test/billing"])
    caller = explained(capsys, "GET /", "--certificate", "client.pem")["caller"]
    assert (caller["user"], caller["source"]) == ("spiffe://example.test/billing", "client_certificate")
    assert caller["attempts"][-1] == {
        "source": "client_certificate",
        "reads": "client certificate",
        "identified": True,
        "why": "its name of kind uri names the user",
    }
    clients.issue(folder / "client.pem", hosts=["billing.test"])
    caller = explained(capsys, "GET /", "--certificate", "client.pem")["caller"]
    assert caller["attempts"][-1]["why"] == "the client's certificate has no name of kind uri"
    caller = explained(capsys, "GET /")["caller"]
    assert caller["attempts"][-1]["why"] == "the connection has no client certificate"


@pytest.mark.parametrize(
    ("claims", "user", "why"),
    [
        ({"user": {"id": 7}, "plan": "gold"}, "7", "the claim user.id names the user, and the claim plan the tier"),
        ({"user": {"id": "ana"}}, "ana", "the claim user.id names the user, and the claim plan names no tier"),
        ({"user": "ana"}, None, "the claim user.id is missing, empty, or neither a text nor a whole number"),
        ({"user": {"id": ""}}, None, "the claim user.id is missing, empty, or neither a text nor a whole number"),
        ({"user": {"id": "ana"}, "exp": 1}, None, "the token has expired"),
        ({"user": {"id": "ana"}, "aud": "shop"}, None, "aud is for another service"),
    ],
)
def test_a_token_is_verified_as_the_proxy_does(
    folder: Path, capsys: Printed, claims: dict[str, Any], user: str | None, why: str
) -> None:
    token = jwt.encode({"exp": int(time.time()) + 600, **claims}, SECRET, "HS256", headers={"kid": "one"})
    (folder / "token").write_text(f"{token}\n")
    caller = explained(capsys, "GET /", "--token-file", "token")["caller"]
    assert caller["user"] == user
    found = caller["attempts"][1]
    assert (found["source"], found["identified"], found["why"]) == ("jwt", user is not None, why)


def test_a_user_id_does_nothing_to_the_terminal(folder: Path, capsys: Printed) -> None:
    claims = {"exp": int(time.time()) + 600, "user": {"id": "a\n\x1b[31m"}}
    (folder / "token").write_text(jwt.encode(claims, SECRET, "HS256", headers={"kid": "one"}))
    assert main(["explain", "GET /", "--token-file", "token", "--config", "gateway.yaml"]) == 0
    assert "user a\\n\\x1b[31m, identified by jwt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["GET /v1/%2e%2e/7"], "path"),
        (["GET /a%2fb"], "path"),
        (["OPTIONS *"], "target"),
        (["GET nowhere"], "unreadable"),
        (["TRACE /"], "method"),
        (["BREW /"], "unreadable"),
        (["GET /", "--header", "Host: a b"], "host"),
        (["GET /", "--header", "X-Api-Key: a", "--header", "X-Api-Key: b"], "two_callers"),
        (["GET /report?format=csv&format=json"], "condition"),
        (["POST /v1/orders", "--header", "Content-Length: 1025"], "large_body"),
        (["GET /" + "a" * 100_000], "target_too_long"),
        (["GET /", "--header", "X: " + "a" * 100_000], "head_too_large"),
    ],
)
def test_a_request_that_is_not_served_has_the_reason_of_the_access_log(
    capsys: Printed, arguments: list[str], reason: str
) -> None:
    document = explained(capsys, *arguments)
    assert (document["served"], document["reason"]) == (False, reason), document


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["/v1/orders"], "is not a request; write a method and a path"),
        (["get /"], "a method is one word in capitals"),
        (["GET /a b"], "a target has no white space"),
        (["GET /", "--header", "X-Plan"], "has no colon"),
        (["GET /", "--header", "X-Plan: a\r\nX-User-Id: b"], "a header is one line"),
        (["GET /", "--tier", "gold"], "--tier needs --user"),
        (["GET /", "--user", ""], "a user id is not empty"),
        (["GET /", "--token-file", "nothing"], "nothing cannot be read: No such file"),
        (["GET /", "--certificate", "nothing"], "nothing cannot be read: No such file"),
        (["GET /", "--certificate", "rules.yaml"], "rules.yaml holds no certificate in PEM"),
        (["GET /", "--token-file", "."], "cannot be read: Is a directory"),
    ],
)
def test_what_describes_no_request_is_rejected(capsys: Printed, arguments: list[str], why: str) -> None:
    assert main(["explain", *arguments, "--config", "gateway.yaml"]) == 1
    assert why in capsys.readouterr().err


def test_an_ipv6_address_is_trusted_as_it_is_and_counted_with_its_64(folder: Path, capsys: Printed) -> None:
    settings = SETTINGS.replace("trusted_proxies: [10.0.0.1]", 'trusted_proxies: ["2001:db8::7"]')
    (folder / "gateway.yaml").write_text(settings)
    proxied = explained(capsys, "GET /", "--address", "2001:db8::7", "--header", "X-User-Id: ana")
    assert proxied["caller"]["user"] == "ana"
    assert main(["explain", "GET /", "--address", "2001:db8::8", "--config", "gateway.yaml"]) == 0
    assert "address 2001:db8::8 (all of 2001:db8::/64 is one caller)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["explain", "GET /", "--address", "2001:db8::/64", "--config", "gateway.yaml"])
    assert "is not an IP address" in capsys.readouterr().err


def test_rules_can_be_tried_without_settings_and_instead_of_those_in_the_settings(
    folder: Path, capsys: Printed
) -> None:
    (folder / "new.yaml").write_text("limits: [{name: new, per: user, rate: 1/s}]\n")
    for settings in ([], ["--config", "gateway.yaml"]):
        assert main(["explain", "GET /", "--user", "ana", "--rules", "new.yaml", *settings]) == 0
        assert "new    user  1/s   1      1" in capsys.readouterr().out
