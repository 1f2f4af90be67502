"""`Guard`: decides who may do what with an admin token, and reports every attempt that it refuses."""

import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, NoReturn

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.grant import Grant, Scope
from gateway.auth.signed_token import TokenRefusedError
from gateway.limits.bucket import State, take
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.loop.eager_run import ensure_task

_REFUSAL = Demand(b"", Charge.of("refusals", Quota(Rate(10, 1), 1000)))
"""How many refused attempts a worker reports; more come from somebody who guesses, and would fill the disk."""


class AccessDeniedError(Exception):
    """An attempt was refused. The reason is logged; the caller learns it only if the token is good."""


class UnauthorizedError(AccessDeniedError):
    """There is no good token."""


class ForbiddenError(AccessDeniedError):
    """The token is good, and does not permit this; the message names the scope that does."""


class TooManyAttemptsError(AccessDeniedError):
    """Too many attempts were refused lately; this one was refused, too, and is not reported."""


class Attempt(NamedTuple):
    """What somebody tries to do.

    Attributes:
        method: The request's method.
        route: The path as the API defines it, with its parameters not filled in.
        source: The caller's address.
        scope: What a token has to permit.
    """

    method: str
    route: str
    source: str
    scope: Scope


class RefusedAttempt(NamedTuple):
    """A refused attempt, for operators.

    Attributes:
        attempt: What was tried.
        reason: Why it was refused. It quotes nothing of the token.
        grant: What the token says; None without a good one.
    """

    attempt: Attempt
    reason: str
    grant: Grant | None = None


class Guard:
    """Admits attempts with a good token.

    All others are refused in the same way, whatever is wrong. Whoever guesses tokens is slowed down by a token bucket
    of our own; a good token is not held up by those without one.

    Args:
        verifier: Verifies tokens; None when no keys are configured, and then no token is good.
        source: What its tokens are called when refusals are counted; a key of `REASONS`.
        count: Counts every refused attempt.
        report: Reports a refused attempt, unless there are too many.
    """

    def __init__(
        self,
        verifier: AdminVerifier | None,
        source: Literal["admin_token", "bypass_token"],
        count: Callable[[str, str], object],
        report: Callable[[RefusedAttempt], Awaitable[None]],
    ) -> None:
        self._verifier = verifier
        self._source = source
        self._count = count
        self._report = report
        self._refusals: State | None = None

    async def admit(self, token: str, attempt: Attempt) -> Grant:
        """What a token permits, which includes the attempt.

        Raises:
            UnauthorizedError: the token is not good.
            ForbiddenError: it permits other things only.
            TooManyAttemptsError: one of both, too often.
        """
        if self._verifier is None:
            await self.refuse(attempt, "no_keys", "no keys for admin tokens are configured")
        try:
            grant = self._verifier.verify(token)
        except TokenRefusedError as error:
            await self.refuse(attempt, error.reason, str(error))
        if not grant.covers(attempt.scope):
            await self.refuse(attempt, "no_scope", f"the token does not have the scope {attempt.scope.value}", grant)
        return grant

    async def refuse(self, attempt: Attempt, reason: str, why: str, grant: Grant | None = None) -> NoReturn:
        """Count and report a refused attempt, and raise as `admit` does.

        Args:
            attempt: What was tried.
            reason: One of the source's reasons in `REASONS`.
            why: The same in a sentence, which quotes nothing of the token.
            grant: What the token says; None without a good one.
        """
        self._count(self._source, reason)
        decision, (state,) = take([_REFUSAL], [self._refusals], time.monotonic_ns() // 1000)
        if not decision.allowed:
            raise TooManyAttemptsError
        self._refusals = state
        await ensure_task()  # it may be written to disk
        await self._report(RefusedAttempt(attempt, why, grant))
        if grant is None:
            raise UnauthorizedError
        raise ForbiddenError(f"this needs a token with the scope {attempt.scope.value}")
