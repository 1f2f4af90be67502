"""`InForce`: which revision is in force, and on what terms: until it is confirmed, or although the files differ."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pin:
    """A revision stays in force although the rule files differ from it.

    Attributes:
        since: Since when, in ISO 8601.
        actor: Who rolled back; a word in parentheses if nobody confirmed a reload in time.
        reason: Why.
        rolled_back: The checksums of the rules that were taken back.
    """

    since: str
    actor: str
    reason: str
    rolled_back: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pending:
    """A revision has to be confirmed.

    Attributes:
        previous: The number of the revision to return to.
        deadline: Until when, in microseconds since 1970.
        actor: Who reloaded.
        rolled_back: What was rolled back before, and is again if nobody confirms.
    """

    previous: int
    deadline: int
    actor: str
    rolled_back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force.

    Attributes:
        number: Of the revision; 0 if none is known.
        pin: Why the files may differ from it; None if they are in force.
        pending: What happens unless it is confirmed; None if it need not be.
    """

    number: int = 0
    pin: Pin | None = None
    pending: Pending | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "InForce":
        """Of JSON.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        pin, pending = document["pin"], document["pending"]
        return cls(
            int(document["number"]),
            None if pin is None else Pin(**{**pin, "rolled_back": tuple(pin["rolled_back"])}),
            None if pending is None else Pending(**{**pending, "rolled_back": tuple(pending["rolled_back"])}),
        )

    def returned(self, checksum: str, since: str) -> "InForce":
        """What is in force when nobody has confirmed this in time.

        Args:
            checksum: Of the rules that were not confirmed.
            since: When, in ISO 8601.
        """
        if self.pending is None:
            return self
        taken_back = tuple(dict.fromkeys((*self.pending.rolled_back, checksum)))
        why = f"revision {self.number} was not confirmed in time"
        return InForce(self.pending.previous, Pin(since, "(deadline)", why, taken_back))
