"""`Guard`: who may do what on the control plane."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web

from gateway.auth.admin_token import AdminVerifier, TokenRefusedError
from gateway.auth.grant import Grant, Scope
from gateway.control.http.problem import Problem
from gateway.limits.address import Address, parse_address
from gateway.limits.bucket import Charge, Demand, Quota, State, take
from gateway.limits.rate import Rate

_UNAUTHORIZED = {"WWW-Authenticate": "Bearer"}
_FORBIDDEN = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
_GUESS = Demand(b"", Charge.of("guesses", Quota(Rate(10, 1), 1000)))
"""How often a worker hears of refused attempts; what goes beyond is somebody who guesses, and would fill our disk."""


class Attempt(NamedTuple):
    """What somebody tries.

    Attributes:
        method: Of the request.
        route: The path as we serve it, its holes not filled in.
        source: The caller's address.
    """

    method: str
    route: str
    source: str


class Refusal(NamedTuple):
    """An attempt that was refused, as it is told to the operator and never to the caller.

    Attributes:
        reason: Why, in words of ours.
        attempt: What was tried.
        grant: What the token says; None when it is not good.
        scope: What it would have had to be good for.
    """

    reason: str
    attempt: Attempt
    grant: Grant | None
    scope: Scope


class Guard:
    """Lets requests with a good token pass. All others get one and the same answer, whatever is wrong.

    Who guesses is slowed down by our own law; a good token is not held up by those who have none.

    Args:
        warden: Reads tokens; None when nobody has a key, and then no token is good.
        tell: Is told of every refusal.
    """

    def __init__(self, warden: AdminVerifier | None, tell: Callable[[Refusal], Awaitable[None]]) -> None:
        self._warden = warden
        self._tell = tell
        self._guesses: State | None = None

    async def admit(self, request: web.Request, scope: Scope) -> Grant:
        """What the bearer of a request's token may do, which includes `scope`.

        Raises:
            Problem: 401 when there is no good token, 403 when it is good for something else, 429 when that has
                happened too often.
        """
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        attempt = Attempt(request.method, route, str(address_of(request)))
        return await self.weigh(lambda: self._read(request), scope, attempt)

    async def weigh(self, read: Callable[[], Grant], scope: Scope, attempt: Attempt) -> Grant:
        """What `read` grants, which includes `scope`.

        Args:
            read: Reads a token, or raises `TokenRefusedError`.
            scope: What it has to be good for.
            attempt: What is tried.

        Raises:
            Problem: as `admit`.
        """
        try:
            grant = read()
        except TokenRefusedError as error:
            await self._refuse(Refusal(str(error), attempt, None, scope))
            raise Problem(HTTPStatus.UNAUTHORIZED, headers=_UNAUTHORIZED) from None
        if not grant.covers(scope):
            await self._refuse(Refusal(f"the token has no scope {scope.value}", attempt, grant, scope))
            raise Problem(HTTPStatus.FORBIDDEN, headers=_FORBIDDEN)
        return grant

    def _read(self, request: web.Request) -> Grant:
        fields = request.headers.getall("Authorization", [])
        if len(fields) != 1:
            raise TokenRefusedError("it is sent twice" if fields else "there is none")
        scheme, _, token = fields[0].partition(" ")
        if scheme.lower() != "bearer":
            raise TokenRefusedError("it is not a bearer token")
        return self.read(token)

    def read(self, token: str) -> Grant:
        """What a token grants.

        Raises:
            RefusedTokenError: it is not good.
        """
        if self._warden is None:
            raise TokenRefusedError("there are no keys for admin tokens")
        return self._warden.read(token)

    async def _refuse(self, refusal: Refusal) -> None:
        decision, (state,) = take([_GUESS], [self._guesses], time.monotonic_ns() // 1000)
        if not decision.allowed:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS)
        self._guesses = state
        await self._tell(refusal)


def address_of(request: web.Request) -> Address | None:
    """Who is at the other end of a request's connection; None when nobody knows."""
    return parse_address((request.remote or "").partition("%")[0])
