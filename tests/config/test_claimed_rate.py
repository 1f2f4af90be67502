"""`from_claim`: what can be written, and what is said to what cannot."""

from pathlib import Path

import pytest

from gateway.config.loader import load
from gateway.limits.claimed_rate import ClaimedRate
from gateway.limits.rate import Rate
from tests.config.reading import UPSTREAMS, problems_of

SOURCES = """
identity:
  trusted_proxies: [192.0.2.1]
  sources: [trusted_header: {header: X-User-Id, attributes: {rpm: X-Rpm, org: X-Org}}]
"""


def write(folder: Path, limit: str, sources: str = SOURCES) -> Path:
    (folder / "rules.yaml").write_text(f"limits:\n  - {{name: a, {limit}}}\n")
    (folder / "gateway.yaml").write_text(f"rules: rules.yaml\n{UPSTREAMS}{sources}")
    return folder / "gateway.yaml"


@pytest.mark.parametrize("per", ["per: user", "per: [user, endpoint]", "per: org, if_missing: skip"])
def test_an_attribute_and_the_largest_rate_are_written(per: str, tmp_path: Path) -> None:
    claim = "from_claim: {rate: rpm, at_most: 6000/minute}"
    (limit,) = load(write(tmp_path, f"rate: 1/s, {per}, {claim}")).rules.limits
    assert limit.from_claim == ClaimedRate("rpm", Rate(6000, 60))


CLAIM = "from_claim: {rate: rpm, at_most: 6000/minute}"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("rate: 1/s, per: user, from_claim: {rate: rpm}", "the key 'at_most' is missing"),
        ("rate: 1/s, per: user, from_claim: {at_most: 5/s}", "the key 'rate' is missing"),
        ("rate: 1/s, per: user, from_claim: {rate: rpm, at_most: fast}", "'fast' is not a rate"),
        ("rate: 1/s, per: user, from_claim: {rate: rpm, at_most: 59/minute}", "at_most is below the limit's own rate"),
        ("rate: 1/s, per: user, from_claim: {rate: rpn, at_most: 5/s}",
         "no source in 'identity' has the attribute 'rpn'; the attributes there are org, rpm (did you mean 'rpm'?)"),
        ("rate: 1/s, per: user, from_claim: {rate: Rpm, at_most: 5/s}", "is not the name of an attribute"),
        ("rate: 1/s, per: user, from_claim: {rate: rpm, at_most: 5/s, burst: 5}", "unknown key 'burst'"),
        (f"quota: 5/month, per: user, {CLAIM}", "is for limits with a rate"),
        (f"rate: 1/s, per: address, {CLAIM}", "needs per: user, or an attribute such as org"),
        (f"rate: 1/s, per: endpoint, {CLAIM}", "a bucket that others share has one rate"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_an_error_with_its_place(written: str, message: str, tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, written))
    assert any(message in each for each in problems), problems
    assert all("rules.yaml:2:" in each for each in problems)


def test_without_attributes_none_can_be_named(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, f"rate: 1/s, per: user, {CLAIM}", ""))
    assert problem.endswith("no source in 'identity' has the attribute 'rpm'; there are no attributes")
