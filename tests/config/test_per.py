"""`per` and `if_missing`: what can be written, and what is said to what cannot."""

from pathlib import Path

import pytest

from gateway.config.diagnostic import ConfigError
from gateway.config.loader import load
from gateway.config.rule_test import load_rule_tests
from gateway.limits.holder import Part, Prefixes
from gateway.limits.limit import Missing
from tests.config.reading import UPSTREAMS, problems_of

SOURCES = """
identity:
  trusted_proxies: [192.0.2.1]
  sources:
    - trusted_header: {header: X-User-Id, attributes: {org: X-Org, team: X-Team}}
    - api_key: {keys: [{sha256: SHA, user: ana, attributes: {org: acme, plan: gold}}]}
""".replace("SHA", "ab" * 32)


def write(folder: Path, limit: str, sources: str = SOURCES) -> Path:
    (folder / "rules.yaml").write_text(f"limits:\n  - {{name: a, rate: 1/s, {limit}}}\n")
    (folder / "gateway.yaml").write_text(f"rules: rules.yaml\n{UPSTREAMS}{sources}")
    return folder / "gateway.yaml"


@pytest.mark.parametrize(
    ("written", "per", "missing"),
    [
        ("per: org, if_missing: skip", ("org",), Missing.SKIP),
        ("per: [team, org], if_missing: refuse", ("team", "org"), Missing.REFUSE),
        ("per: [endpoint, org], if_missing: shared", ("org", "endpoint"), Missing.SHARED),
        ("per: [org, user], if_missing: skip", ("org", "user"), Missing.SKIP),
        ("per: {network: {ipv4: 24, ipv6: 48}}", (Prefixes(24, 48),), Missing.SKIP),
        ("per: [endpoint, {network: {ipv4: 8, ipv6: 64}}]", (Prefixes(8, 64), "endpoint"), Missing.SKIP),
        ("per: all", (), Missing.SKIP),
    ],
)
def test_a_bucket_is_for_each_value_of_what_is_written(
    written: str, per: tuple[Part, ...], missing: Missing, tmp_path: Path
) -> None:
    (limit,) = load(write(tmp_path, written)).rules.limits
    assert (limit.per, limit.if_missing) == (per, missing)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("per: org", "not every caller has org: write if_missing: skip"),
        ("per: user, if_missing: skip", "nothing can be missing here"),
        ("per: orgg, if_missing: skip", "the attributes there are org, plan, team (did you mean 'org'?)"),
        ("per: [org, address], if_missing: skip", "stands with 'endpoint' only"),
        ("per: {network: {ipv4: 24}}", "the key 'ipv6' is missing"),
        ("per: {network: {ipv4: 24, ipv6: 80}}", "one IPv6 client has a whole /64"),
        ("per: {network: {ipv4: 32, ipv6: 64}}", "this is one client; write per: address"),
        ("per: network", "say how large the networks are"),
        ("per: tier, if_missing: skip", "'tier' means something else"),
        ("per: Org, if_missing: skip", "'Org' is not the name of an attribute"),
        ("per: org, if_missing: allow", "write skip, refuse or shared"),
        ("per: {network: {ipv4: 24, ipv6: 48}}, tiers: {gold: {rate: 2/s}}", "tiers need per: user, or an attribute"),
    ],
)
def test_a_mistake_is_named_once_with_what_to_write(written: str, message: str, tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, written))
    assert problem.startswith(f"{tmp_path}/rules.yaml:2:")
    assert message in problem


def test_a_limit_that_can_never_have_a_key_is_warned_of(tmp_path: Path) -> None:
    warnings = load(write(tmp_path, "per: [team, plan], if_missing: shared")).warnings
    assert [str(each).partition("limits[0].")[2] for each in warnings if "rules.yaml" in str(each)] == [
        "per: no identity source names all of plan and team, so no caller can ever have them together"
    ]


def test_callers_who_are_under_no_limit_without_the_attribute_are_warned_of(tmp_path: Path) -> None:
    config = write(tmp_path, "per: org, if_missing: skip")
    (warning,) = [str(each) for each in load(config).warnings if "rules.yaml" in str(each)]
    assert "callers without org are under no limit at default" in warning
    with (tmp_path / "rules.yaml").open("a") as rules:
        rules.write("  - {name: b, rate: 1/s, per: user}\n")
    assert not [each for each in load(config).warnings if "rules.yaml" in str(each)]


def test_tiers_may_differ_by_organization(tmp_path: Path) -> None:
    (limit,) = load(write(tmp_path, "per: org, if_missing: shared, tiers: {gold: {rate: 2/s}}")).rules.limits
    assert limit.tiers.keys() == {"gold"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("jwt: {keys: KEYS, attributes: {user: sub}}", "'user' means something else in rules"),
        ("jwt: {keys: KEYS, attributes: {Org: org}}", "'Org' is not the name of an attribute"),
        ("jwt: {keys: KEYS, attributes: {}}", "there is no attribute here"),
        ("jwt: {keys: KEYS, attributes: {org: $.org}}", "is neither a name nor names with dots"),
        ("trusted_header: {header: X-User, attributes: {org: 'X Org'}}", "is not the name of a header"),
    ],
)
def test_a_mistake_in_an_attribute_of_a_source_is_named(source: str, message: str, tmp_path: Path) -> None:
    keys = f"[{{kid: a, algorithm: HS256, secret_file: {tmp_path}/secret}}]"
    (tmp_path / "secret").write_text("x" * 40)
    sources = f"identity:\n  trusted_proxies: [192.0.2.1]\n  sources:\n    - {source.replace('KEYS', keys)}\n"
    (problem,) = problems_of(write(tmp_path, "per: user", sources))
    assert message in problem


@pytest.mark.parametrize("key", ["exempt", "block"])
def test_an_attribute_that_nobody_can_have_exempts_and_blocks_nobody(key: str, tmp_path: Path) -> None:
    config = write(tmp_path, "per: user")
    with (tmp_path / "rules.yaml").open("a") as rules:
        rules.write(f"{key}: {{attributes: {{orgg: [acme]}}}}\n")
    (problem,) = problems_of(config)
    assert f"{key}: no source in 'identity' names the attribute 'orgg'" in problem
    assert "(did you mean 'org'?)" in problem
    (problem,) = problems_of(write(tmp_path, "per: user, exempt: {attributes: {teem: [ops]}}"))
    assert "limits[0].exempt: no source in 'identity' names the attribute 'teem'" in problem


def test_a_rule_test_names_attributes_that_callers_can_have(tmp_path: Path) -> None:
    config = write(tmp_path, "per: org, if_missing: shared", f"rule_tests: tests.yaml\n{SOURCES}")
    steps = "steps: [{request: GET /, expect: allowed, as: {user: u, attributes: {teem: a}}}]"
    (tmp_path / "tests.yaml").write_text(f"tests: [{{name: x, as: {{user: u, attributes: {{orgg: a}}}}, {steps}}}]\n")
    loaded = load(config)
    with pytest.raises(ConfigError) as error:
        load_rule_tests(loaded.settings, loaded.rules)
    said = [str(each).partition("tests.yaml:")[2] for each in error.value.problems]
    assert [each.partition(" ")[2] for each in said] == [
        "tests[0].as: no source in 'identity' names the attribute 'orgg', so nobody can have it (did you mean 'org'?)",
        (
            "tests[0].steps[0].as: no source in 'identity' names the attribute 'teem', so nobody can have it "
            "(did you mean 'team'?)"
        ),
    ]
