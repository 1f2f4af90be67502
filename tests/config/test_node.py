"""Mappings, lists and single values: what is refused before anybody asks what they mean."""

from pathlib import Path

import pytest

from tests.config.reading import rules_problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("limits: {}\n", "rules.yaml:1:9: limits: expected a list, found a mapping"),
        ("limits: 7\n", "rules.yaml:1:9: limits: expected a list, found a single value"),
        ("limits:\n", "rules.yaml:1:8: limits: expected a list, found nothing"),
        (
            "- limits\n",
            (
                "rules.yaml:1:1: expected a mapping of keys to values, found a list; its keys are block, "
                "endpoints, exempt, limits, tiers"
            ),
        ),
        (
            "hello\n",
            (
                "rules.yaml:1:1: expected a mapping of keys to values, found a single value; its keys are "
                "block, endpoints, exempt, limits, tiers"
            ),
        ),
        (
            "limits: [x]\n",
            (
                "rules.yaml:1:10: limits[0]: expected a mapping of keys to values, found a single value; its keys "
                "are at_once, burst, candidate, endpoints, enforce, exempt, from_claim, "
                "from_day, if_missing, name, over, per, quota, "
                "rate, reserve, "
                "schedule, tiers, when_redis_is_down, zone"
            ),
        ),
        ("limits: []\nlimits: []\n", "rules.yaml:2:1: limits: duplicate key 'limits'; the first is on line 1"),
        (
            "limits:\n  - {name: a, per: user, rate: 1/s, tiers: {gold: {rate: 1/s}, gold: {rate: 2/s}}}\n",
            "rules.yaml:2:64: limits[0].tiers.gold: duplicate key 'gold'; the first is on line 2",
        ),
        (
            "limits: [{name: a, per: user, rate: 1/s, rate: 2/s}]\n",
            "rules.yaml:1:42: limits[0].rate: duplicate key 'rate'; the first is on line 1",
        ),
        (
            'limits: [{name: a, per: user, rate: 1/s, "ra\\u0074e": 2/s}]\n',
            "rules.yaml:1:42: limits[0].rate: duplicate key 'rate'; the first is on line 1",
        ),
        ("? [a]\n: 1\n", "rules.yaml:1:3: a key is a single word, not a list or a mapping"),
        (
            "exempt: &e {users: [a]}\nlimits: [{name: a, per: user, rate: 1/s, exempt: {<<: *e}}]\n",
            (
                "rules.yaml:2:51: limits[0].exempt.'<<': merge keys (<<) are not supported; write the keys out, or "
                "alias a whole value (*name)"
            ),
        ),
        ("limits: !list []\n", "rules.yaml:1:9: limits: tags such as '!list' are not supported"),
        (
            "exempt: {users: [!env USER]}\n",
            "rules.yaml:1:18: exempt.users[0]: tags such as '!env' are not supported",
        ),
        ("exempt: !all {}\n", "rules.yaml:1:9: exempt: tags such as '!all' are not supported"),
        (
            '"two\\nlines": 1\n',
            (
                "rules.yaml:1:1: 'two\\nlines': unknown key 'two\\nlines'; the keys here are block, endpoints, exempt, "
                "limits, tiers"
            ),
        ),
    ],
)
def test_wrong_kind_is_refused_where_it_stands(tmp_path: Path, text: str, problem: str) -> None:
    assert rules_problems(tmp_path, text) == [problem]


def test_long_value_is_cut_in_a_message(tmp_path: Path) -> None:
    (problem,) = rules_problems(tmp_path, f"limits: [{{name: a, per: user, rate: {'x' * 1000}}}]\n")
    assert len(problem) < 300
