"""`cost` of an endpoint: what can be written, and what is said to what cannot."""

from pathlib import Path

import pytest

from gateway.limits.measured_cost import MeasuredCost
from tests.config.reading import load_rules_text, rules_problems


def rules(cost: str) -> str:
    return (
        f"endpoints:\n  - {{name: a, path: /a, cost: {cost}}}\n"
        "limits: [{name: b, per: user, rate: 1/s, burst: 1000000}]\n"
    )


@pytest.mark.parametrize(
    ("written", "estimate", "measured"),
    [
        ("5", 5, None),
        ("0", 0, None),
        ("{estimate: 200, header: X-Cost, at_most: 8000}", 200,
         MeasuredCost(estimate=200, header=b"x-cost", at_most=8000)),
        ("{per: 64KiB, at_most: 10}", 1, MeasuredCost(per=65_536, at_most=10)),
        ("{charge_on: [401, 403]}", 1, MeasuredCost(charge_on=frozenset({401, 403}))),
        ("{estimate: 3, charge_on: [401]}", 3, MeasuredCost(estimate=3, charge_on=frozenset({401}))),
        ("{give_back_on: [502, unsent]}", 1, MeasuredCost(give_back_on=frozenset({502}))),
        ("{give_back_on: [502]}", 1, MeasuredCost(give_back_on=frozenset({502}), gives_back_unsent=False)),
        ("{give_back_on: []}", 1, MeasuredCost(gives_back_unsent=False)),
    ],
)  # fmt: skip
def test_a_cost_is_a_number_or_says_how_it_is_found(
    written: str, estimate: int, measured: MeasuredCost | None, tmp_path: Path
) -> None:
    endpoint = load_rules_text(tmp_path, rules(written)).rules.endpoints["a"]
    assert (endpoint.cost, endpoint.measured_cost) == (estimate, measured)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{estimate: 0, charge_on: [401]}", "0 is out of range; write 1 to 1000000"),
        ("{header: X-Cost}", "the key 'at_most' is missing"),
        ("{per: 64KiB}", "the key 'at_most' is missing"),
        ("{header: X Cost, at_most: 5}", "is not the name of a header"),
        ("{header: Content-Length, at_most: 5}", "is about the connection"),
        ("{header: X-Cost, per: 1KiB, at_most: 5}", "'header' is given as well; write one of the two"),
        ("{header: X-Cost, charge_on: [401], at_most: 5}", "cost.charge_on: 'header' is given as well"),
        ("{estimate: 50, header: X-Cost, at_most: 5}", "is less than the estimate, 50; write that or more"),
        ("{charge_on: [401], at_most: 5}", "no request costs more than the estimate; remove it"),
        ("{charge_on: [4010]}", "4010 is out of range; write 100 to 599"),
        ("{charge_on: []}", "the list is empty"),
        ("{charge_on: [401], give_back_on: [401]}", "401 is in 'charge_on', too"),
        ("{give_back_on: [unset]}", "'unset' is not"),
        ("{per: 0, at_most: 5}", "0"),
        ("{estimate: 5}", "nothing says how the cost is found"),
        ("{}", "nothing says how the cost is found"),
        ("{headr: X-Cost, at_most: 5}", "unknown key 'headr'"),
        ("[5]", "expected"),
        ("-5", "'-5' is not a whole number"),
    ],
)
def test_what_cannot_be_used_is_an_error_with_its_place(written: str, message: str, tmp_path: Path) -> None:
    problems = rules_problems(tmp_path, rules(written))
    assert any(message in each for each in problems), problems
    assert all(each.startswith("rules.yaml:2:") for each in problems), problems
