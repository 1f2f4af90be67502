"""What a reload reports as changed."""

from gateway.limits.bucket import Quota
from gateway.limits.condition import HEADER, QUERY, Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules

EXPORT = Condition(QUERY, "format", frozenset({"csv"}))


def _rules(rate: str, gold: str) -> Rules:
    tiers = {"gold": Quota(Rate.parse(gold), 7)}
    return Rules(limits=(Limit("all", ("user",), Quota(Rate.parse(rate), 5), frozenset(), tiers=tiers),))


def test_the_same_rate_in_other_words_is_no_change() -> None:
    assert diff_rules(_rules("60/m", "1/h"), _rules("60/60s", "1/hour"))["limits"]["changed"] == []


def test_a_rate_that_changed_is_shown_as_it_was_and_is_written() -> None:
    (changed,) = diff_rules(_rules("60/60s", "1/h"), _rules("61/m", "2/60m"))["limits"]["changed"]
    assert changed["before"] == {"rate": "60/60s", "tiers": {"gold": {"rate": "1/h", "burst": 7}}}
    assert changed["after"] == {"rate": "61/m", "tiers": {"gold": {"rate": "2/60m", "burst": 7}}}


def test_conditions_that_changed_are_shown_as_the_files_have_them() -> None:
    def rules(*values: str) -> Rules:
        header = Condition(HEADER, "X-A", frozenset(values))
        return Rules([Endpoint("e", Template.parse("/e"), headers=(header,), query=(EXPORT,) * (len(values) > 1))])

    (changed,) = diff_rules(rules("1"), rules("2", "1"))["endpoints"]["changed"]
    assert changed["before"] == {"headers": {"X-A": ["1"]}, "query": {}}
    assert changed["after"] == {"headers": {"X-A": ["1", "2"]}, "query": {"format": ["csv"]}}
