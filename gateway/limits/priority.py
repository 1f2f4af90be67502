"""`Priority`: how much a request matters; `Reserve`: the part of a bucket that is kept for those that matter more."""

from dataclasses import dataclass
from enum import Enum


class Priority(Enum):
    """How much a request matters, beside others that are charged to the same bucket."""

    HIGH = "high"
    """Nothing is kept from it."""
    NORMAL = "normal"
    """That of requests whose endpoint and tier say nothing."""
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Reserve:
    """The parts of a bucket that requests leave to those of a higher priority, from 0 to below 1.

    Attributes:
        normal: What requests of normal priority leave.
        low: What requests of low priority leave, at least as much.

    Raises:
        ValueError: requests of low priority leave less than those of normal priority.
    """

    normal: float = 0.0
    low: float = 0.0

    def __post_init__(self) -> None:
        if self.low < self.normal:
            raise ValueError("requests of low priority leave at least as much as those of normal priority")

    def kept_from(self, priority: Priority) -> float:
        """The part of a bucket that requests of a priority leave."""
        return {Priority.HIGH: 0.0, Priority.NORMAL: self.normal, Priority.LOW: self.low}[priority]

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return self.low > 0


NO_RESERVE = Reserve()


def format_part(part: float) -> str:
    """A part of a bucket as the rule files write it: ``20%``."""
    return f"{part * 100:.6g}%"


def priority_of(endpoint: Priority | None, tier: Priority | None) -> Priority:
    """The priority of a request: its endpoint's, or else that of the caller's tier, or else normal."""
    return endpoint or tier or Priority.NORMAL
