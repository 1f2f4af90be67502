"""`Asker`: a service that asks the control plane, and `Service`: what answers it, over whichever connection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.auth.bearer import admit_bearer
from gateway.auth.grant import Scope
from gateway.auth.guard import Attempt, Guard
from gateway.limits.address import Address, Network, Unix, belongs


@dataclass(init=False, slots=True)
class Asker:
    """Who sent a question.

    Attributes:
        path: Where it was asked.
        address: Where it came from; None if that is unknown.
        authorization: The values of its Authorization headers.
    """

    path: Final[str]
    address: Final[Address | Unix | None]
    authorization: Final[Sequence[str]]

    def __init__(self, path: str, address: Address | Unix | None, authorization: Sequence[str]) -> None:
        self.path = path
        self.address = address
        self.authorization = authorization

    async def prove(self, guard: Guard, scope: Scope, open_to: Sequence[Network | Unix] = ()) -> None:
        """Show a token with a scope, unless the question comes from a network that needs none.

        Raises:
            AccessDeniedError: see `admit_bearer`.
        """
        if not (open_to and belongs(self.address, open_to)):
            await admit_bearer(guard, Attempt("POST", self.path, str(self.address), scope), self.authorization)


class Service(Protocol):
    """What answers services: `CheckLimit` or `Settle`.

    Attributes:
        path: Where it is asked, with POST and a JSON object.
    """

    path: str

    async def admit(self, asker: Asker) -> None:
        """Check that somebody may ask, before the question is read.

        Raises:
            AccessDeniedError: they may not.
        """

    async def answer(self, asker: Asker, body: bytes) -> bytes:
        """The answer to a question, both in JSON.

        Raises:
            AccessDeniedError: the question needs another scope.
            ControlError: it is not answered.
        """
