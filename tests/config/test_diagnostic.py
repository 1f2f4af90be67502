"""How a diagnostic reads."""

import pytest

from gateway.config.diagnostic import ConfigError, Diagnostic, Findings


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Diagnostic("r.yaml", 12, 11, "limits[3].rate", "bad"), "r.yaml:12:11: limits[3].rate: bad"),
        (Diagnostic("r.yaml", 12, 11, "a", "bad", "'b'"), "r.yaml:12:11: a: bad (did you mean 'b'?)"),
        (Diagnostic("r.yaml", 0, 0, "", "empty"), "r.yaml: empty"),
    ],
)
def test_problem_is_one_line(problem: Diagnostic, text: str) -> None:
    assert str(problem) == text


def test_problems_come_in_the_order_of_files_and_lines() -> None:
    places = [("b", 1, 1), ("a", 10, 1), ("a", 2, 9), ("a", 2, 3)]
    with pytest.raises(ConfigError) as error:
        Findings([Diagnostic(*place, "", "bad") for place in places]).result()
    assert [(each.file, each.line, each.column) for each in error.value.problems] == sorted(places)
