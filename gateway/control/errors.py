"""Why something that was asked of the control plane was not done. `http.problem` says what each is in HTTP."""

from collections.abc import Sequence
from typing import Any


class ControlError(Exception):
    """Something was not done. The message says why, for whoever asked for it.

    Attributes:
        members: Further members of the response.
    """

    def __init__(self, message: str, **members: Any) -> None:
        super().__init__(message)
        self.members = members


class InvalidJsonError(ControlError):
    """A body is not a strict JSON object."""


class InvalidObjectError(ControlError):
    """A JSON object is invalid: `errors` has a JSON pointer, and what was expected there, for each error."""

    def __init__(self, errors: Sequence[dict[str, str]]) -> None:
        super().__init__("the body is invalid", errors=errors)


class InvalidPlanError(ControlError):
    """A file of overrides is invalid: `errors` has line, column, and what is wrong there, for each error."""

    def __init__(self, errors: Sequence[dict[str, Any]], count: int) -> None:
        super().__init__(f"the file has {count} error{'s' * (count != 1)}; nothing was changed", errors=errors)


class AuditUnavailableError(ControlError):
    """The audit log cannot be written or read. What cannot be recorded must not happen."""


class OverridesUnavailableError(ControlError):
    """Overrides cannot be stored at present."""


class NoOverrideError(ControlError):
    """A user has no override."""


class NoReservationError(ControlError):
    """There is no such reservation, or its time is over."""


class ReservationsUnavailableError(ControlError):
    """Reservations cannot be settled at present."""


class ReloadRejectedError(ControlError):
    """Rules, tests, certificates or keys are invalid: `problems` has the place of each, and what is wrong there.

    Attributes:
        problems: As they are shown.
        what: What they are, in the plural.
    """

    what = "problems in the files"

    def __init__(self, problems: list[str], why: str = "files are invalid", **members: Any) -> None:
        super().__init__(f"{why}; what is in force stays", problems=problems, **members)
        self.problems = problems


class RuleTestsFailedError(ReloadRejectedError):
    """New rules fail their tests: `problems` has the place of each failure, what was expected, and what happened."""

    what = "rule tests failed"

    def __init__(self, failures: list[str], **members: Any) -> None:
        super().__init__(failures, "the new rules fail their tests", **members)


class ReloadFailedError(ControlError):
    """Not all workers could take over new rules, or the other gateways could not be asked to."""


class NoRevisionError(ControlError):
    """There is no such revision."""


class RevisionsUnavailableError(ControlError):
    """Revisions cannot be kept or read. What cannot be kept is not put in force."""


class ConflictError(ControlError):
    """What is in force is pinned, or has to be confirmed, or is that already. The message says what to do first."""
