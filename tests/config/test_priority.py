"""Priorities and reserves: what is read, what each mistake is answered with, and what is warned of."""

from pathlib import Path

import pytest

from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.config.summary import summary
from gateway.limits.priority import Priority, Reserve
from tests.config.reading import load_rules_text, rules_problems

E = "endpoints: [{name: pay, path: /pay, priority: high}, {name: export, path: /export, priority: low}]\n"


def test_priorities_and_reserves_are_read(tmp_path: Path) -> None:
    loaded = load_rules_text(
        tmp_path,
        f"{E}tiers: {{gold: {{priority: high}}}}\n"
        "limits:\n"
        "  - {name: both, per: user, rate: 10/s, reserve: {normal: 20%, low: 50.5%}}\n"
        "  - {name: low, per: user, rate: 10/s, reserve: {low: 50%}}\n"
        "  - {name: normal, per: endpoint, rate: 10/s, reserve: {normal: 20%}}\n",
    )
    rules = loaded.rules
    assert [rules.endpoints[name].priority for name in ("pay", "export", "default")] == [
        Priority.HIGH,
        Priority.LOW,
        None,
    ]
    assert [limit.reserve for limit in rules.limits] == [Reserve(0.2, 0.505), Reserve(0.0, 0.5), Reserve(0.2, 0.2)]
    assert rules.priorities == {"gold": Priority.HIGH}
    assert not loaded.warnings
    shown = summary(loaded, 1)
    for line in ("tier gold priority high", "  priority low", "  keeps 20% from normal", "  keeps 50.5% from low"):
        assert line in shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "endpoints: [{name: a, path: /a, priority: urgent}]",
            "1:43: endpoints[0].priority: 'urgent' is not one of the options; write high, normal or low",
        ),
        ("tiers: {gold: {}}", "1:15: tiers.gold: the key 'priority' is missing"),
        ("tiers: {gold: high}", "1:15: tiers.gold: expected a mapping"),
        (
            "limits: [{name: a, per: user, rate: 9/s, reserve: {low: 0.5}}]",
            ("1:57: limits[0].reserve.low: '0.5' is not a part of a bucket; write a percentage below 100%, as in 20%"),
        ),
        (
            "limits: [{name: a, per: user, rate: 9/s, reserve: {low: 100%}}]",
            ("1:57: limits[0].reserve.low: '100%' is not a part of a bucket; write a percentage below 100%, as in 20%"),
        ),
        (
            "limits: [{name: a, per: user, rate: 9/s, reserve: {}}]",
            "1:51: limits[0].reserve: this keeps nothing; write 'normal' or 'low' with a percentage",
        ),
        (
            "limits: [{name: a, per: user, rate: 9/s, reserve: {high: 1%}}]",
            "1:52: limits[0].reserve.high: unknown key 'high'; the keys here are low, normal",
        ),
        (
            "limits: [{name: a, per: user, rate: 9/s, reserve: {normal: 50%, low: 20%}}]",
            (
                "1:70: limits[0].reserve.low: requests of low priority leave at least as much as those of normal "
                "priority; write 50% or more"
            ),
        ),
        (
            "limits: [{name: a, per: user, rate: 9/s, burst: 2, reserve: {low: 51%}}]",
            (
                "1:61: limits[0].reserve: 51% of a bucket that holds 2 leaves less than one token to requests of low "
                "priority, so none could pass; write a smaller part, or raise the burst"
            ),
        ),
        (
            "limits: [{name: a, per: user, rate: 9/s, tiers: {free: {rate: 1/s}}, reserve: {normal: 1%}}]",
            "1:79: limits[0].reserve: 1% of a bucket of tier free that holds 1 leaves less than one token to requests",
        ),
        (
            "limits: [{name: a, per: user, quota: 9/day, candidate: {quota: 1/day}, reserve: {low: 60%}}]",
            "1:81: limits[0].reserve: 60% of a bucket of the candidate that holds 1 leaves less than one token to",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_way_out(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = rules_problems(tmp_path, text + "\n")
    assert found.startswith(f"rules.yaml:{problem}")


def test_a_tier_has_one_priority_in_all_files(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.mkdir()
    for name in ("a.yaml", "b.yaml"):
        (rules / name).write_text("tiers: {gold: {priority: high}}\n")
    with pytest.raises(ConfigError, match=r"b.yaml:1:9: tiers.gold: duplicate tier 'gold'; the first is at .*a.yaml:1"):
        load(None, Flags(upstream="http://127.0.0.1:9000", rules=str(rules)))


NOBODY = (
    "all requests that share a bucket of this limit leave the same part of it, so nobody can use what is kept; give an "
    "endpoint or a tier another 'priority', or remove the reserve"
)


@pytest.mark.parametrize(
    ("limit", "tiers", "warning"),
    [
        ("per: user, endpoints: [default]", "", NOBODY),
        ("per: [user, endpoint]", "", NOBODY),
        ("per: [user, endpoint]", "gold: {priority: high}", NOBODY),
        ("per: user, endpoints: [default]", "gold: {priority: high}", NOBODY),
        ("per: user, endpoints: [export]", "", NOBODY),
        ("per: endpoint", "gold: {priority: high}", None),
        ("per: user", "", None),
        (
            "per: user, endpoints: [default, pay]",
            "",
            (
                "no request that this limit counts has low priority; give an endpoint or a tier 'priority: low', or "
                "remove the key 'low'"
            ),
        ),
        ("per: user, endpoints: [default, pay]", "free: {priority: low}", None),
        (
            "per: user, endpoints: [export, pay]",
            "",
            (
                "no request that this limit counts has normal priority; give an endpoint or a tier 'priority: normal', "
                "or remove the key 'normal'"
            ),
        ),
    ],
)
def test_a_reserve_that_cannot_be_used_is_warned_of(
    tmp_path: Path, limit: str, tiers: str, warning: str | None
) -> None:
    text = f"{E}tiers: {{{tiers}}}\nlimits: [{{name: a, {limit}, rate: 10/s, reserve: {{normal: 20%, low: 50%}}}}]\n"
    assert [each.message for each in load_rules_text(tmp_path, text).warnings] == [warning] * (warning is not None)


def test_a_cost_above_what_a_priority_may_take_is_warned_of(tmp_path: Path) -> None:
    text = (
        "endpoints:\n"
        "  - {name: pay, path: /pay, priority: high, cost: 9}\n"
        "  - {name: export, path: /e, priority: low, cost: 6}\n"
        "limits: [{name: a, per: user, rate: 10/s, reserve: {low: 50%}}]\n"
    )
    (warning,) = load_rules_text(tmp_path, text).warnings
    assert warning.message == (
        "no request to export can pass under a, because it costs 6 and a bucket holds at most 5 for its priority; "
        "raise the burst, keep less than 50%, or lower the cost"
    )


def test_a_way_to_a_higher_priority_is_warned_of(tmp_path: Path) -> None:
    text = (
        "endpoints: [{name: report, path: /r}, {name: export, path: /r, query: {format: csv}, priority: low}]\n"
        "limits: [{name: a, per: user, rate: 10/s, reserve: {low: 50%}}]\n"
    )
    (warning,) = load_rules_text(tmp_path, text).warnings
    assert "belong to report, on the same upstream, from which a keeps less, at priority normal and not low" in (
        warning.message
    )
