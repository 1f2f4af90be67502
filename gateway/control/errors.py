"""Why something that was asked of the control plane was not done. `http.problem` says what each is in HTTP."""

from collections.abc import Sequence


class ControlError(Exception):
    """Something was not done. The message says why, for whoever asked for it."""


class InvalidObjectError(ControlError):
    """A JSON object is not what was expected.

    Attributes:
        errors: A JSON pointer and what was expected there, for each error.
    """

    def __init__(self, errors: Sequence[dict[str, str]]) -> None:
        super().__init__("the body is invalid")
        self.errors = errors


class AuditUnavailableError(ControlError):
    """The audit log cannot be written or read. What cannot be recorded must not happen."""


class OverridesUnavailableError(ControlError):
    """Overrides cannot be stored at present."""


class NoOverrideError(ControlError):
    """A user has no override."""


class ReloadRejectedError(ControlError):
    """The rule files are invalid; the rules in force stay.

    Attributes:
        problems: What is wrong, each with its file, line and column.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the rule files are invalid; the rules in force stay")
        self.problems = problems


class ReloadFailedError(ControlError):
    """Not all workers could take over new rules, or the other gateways could not be asked to."""
