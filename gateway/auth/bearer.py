"""`admit_bearer`: admits attempts by the bearer token in a request's Authorization header."""

from collections.abc import Sequence

from gateway.auth.grant import Actor
from gateway.auth.guard import Attempt, Guard


async def admit_bearer(guard: Guard, attempt: Attempt, authorization: Sequence[str]) -> Actor:
    """Who attempts something, if their bearer token (RFC 6750 section 2.1) permits it.

    Args:
        guard: Checks the token.
        attempt: What is tried.
        authorization: The values of all Authorization headers of the request.

    Raises:
        AccessDeniedError: as `Guard.admit`; also without exactly one token.
    """
    if len(authorization) != 1:
        if authorization:
            await guard.refuse(attempt, "repeated", "several Authorization headers")
        await guard.refuse(attempt, "missing", "no Authorization header")
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() != "bearer":
        await guard.refuse(attempt, "malformed", "the Authorization header holds no bearer token")
    return Actor.of(await guard.admit(token, attempt), attempt.source)
