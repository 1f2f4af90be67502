"""`percentile`: of what was measured."""

from collections.abc import Iterable


def percentile(values: Iterable[float], percent: int) -> float:
    """The smallest value that so many percent of them do not exceed; 0 of none. The result is one of the values."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else 0.0
