"""`gateway check` shows settings and rules, but no secret and no user."""

from pathlib import Path

from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.config.summary import summary
from tests.config.reading import load_rules_text
from tests.config.test_rulebook import ISSUE


def test_example_of_the_issue_as_tables(tmp_path: Path) -> None:
    loaded = load_rules_text(tmp_path, ISSUE)
    assert summary(loaded, 1).replace(f"{tmp_path}/", "") == (
        """\
listen    127.0.0.1:8080
control   127.0.0.1:8081, read-only: no admin keys
store     memory
workers   1
upstream  default: http://127.0.0.1:9000
rules     rules.yaml revision 0fabcb14c67e

ENDPOINT      METHODS  HOST  PATH               UPSTREAM  COST  LIMITS
read-order    GET      any   /v1/orders/{id}    default   1     everyone
create-order  POST     any   /v1/orders         default   5     everyone, orders-total, orders-each
default       any      any   (everything else)  default   1     everyone

LIMIT         PER                ENDPOINTS     RATE        BURST  ENFORCED  EXEMPT  WHEN REDIS IS DOWN
everyone      user               all           600/minute  100    yes       none    whole
orders-total  endpoint           create-order  50/s        50     yes       none    whole
orders-each   user and endpoint  create-order  10/minute   3      yes       none    whole
  tier gold                                    60/minute   20"""
    )


def test_all_limits_of_an_endpoint_are_listed_and_rates_are_as_they_were_written(tmp_path: Path) -> None:
    rates = ["60/60s", "7/m", "7/minutes", "48/2d", "9/second"]
    limits = ", ".join(f"{{name: limit-{n}, per: user, rate: {rate}}}" for n, rate in enumerate(rates))
    rows = summary(load_rules_text(tmp_path, f"limits: [{limits}]"), 1).splitlines()
    assert any(row.endswith("  limit-0, limit-1, limit-2, limit-3, limit-4") for row in rows)
    assert [row.split()[3] for row in rows if row.startswith("limit-")] == rates


def test_long_lists_are_cut_and_users_are_only_counted(tmp_path: Path) -> None:
    text = summary(
        load_rules_text(
            tmp_path,
            "endpoints: [{name: e, path: /e, methods: [DELETE, GET, POST, PUT], host: a.example}]\n"
            "limits: [{name: a, per: user, rate: 1/15s, enforce: false, when_redis_is_down: allow, "
            "exempt: {users: [alice, bob], networks: [10.0.0.0/8]}}]\n",
        ),
        1,
    )
    assert "DELETE, GET, POST and 1 more  a.example  /e" in text
    assert "1/15s  1      no, shadow  2 users, 10.0.0.0/8  allow" in text
    assert "alice" not in text


def test_conditions_are_below_their_endpoint(tmp_path: Path) -> None:
    text = "endpoints: [{name: e, path: /e, headers: {X-A: [b, a]}, query: {format: [csv, tsv, xls, xlsx], v: ''}}]"
    rows = summary(load_rules_text(tmp_path, text), 1).splitlines()
    at = next(number for number, row in enumerate(rows) if row.startswith("e "))
    assert [row.strip() for row in rows[at + 1 : at + 4]] == [
        "X-A: a, b",
        "?format=csv, tsv, xls and 1 more",
        "?v=(empty)",
    ]


def test_secrets_are_not_shown() -> None:
    loaded = load(None, Flags("http://127.0.0.1:9000", store="rediss://gw:hunter2@cache/3"))
    text = summary(loaded, 1)
    assert "store     Redis rediss://gw@cache:6379/3" in text
    assert "hunter2" not in text
    assert text.endswith("No limits: every request passes.")


def test_a_limit_per_address_says_so(tmp_path: Path) -> None:
    text = summary(load_rules_text(tmp_path, "limits: [{name: a, per: [endpoint, address], rate: 1/s}]"), 1)
    assert "a      address and endpoint  all" in text


def test_a_limit_per_all_says_so(tmp_path: Path) -> None:
    loaded = load_rules_text(tmp_path, "limits: [{name: a, per: all, rate: 1/s}]")
    assert [limit.per for limit in loaded.rules.limits] == [()]
    assert "a      all  all" in summary(loaded, 1)


def test_a_calendar_quota_has_its_calendar_and_no_burst(tmp_path: Path) -> None:
    text = "limits: [{name: a, per: user, quota: 9/month, zone: Europe/Berlin, tiers: {gold: {quota: 99/month}}}]"
    *_, first, gold = summary(load_rules_text(tmp_path, text), 1).splitlines()
    assert " ".join(first.split()) == "a user all 9/month from day 1, Europe/Berlin - yes none whole"
    assert " ".join(gold.split()) == "tier gold 99/month from day 1, Europe/Berlin -"
