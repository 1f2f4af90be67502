"""`OperatorError`: what a command cannot do, said to the person who runs it."""

from typing import ClassVar


class OperatorError(Exception):
    """Something failed that the operator can put right. The message says what happened, where, and what to do.

    Attributes:
        exit_code: With which the command ends.
    """

    exit_code: ClassVar[int] = 1
