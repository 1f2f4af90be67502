"""`authorize`: reads the bearer token of a request (RFC 6750 section 2.1)."""

from aiohttp import web

from gateway.auth.grant import Actor, Scope
from gateway.auth.guard import Attempt, Guard, Refusal
from gateway.limits.address import Address, parse_address


async def authorize(request: web.Request, guard: Guard, scope: Scope) -> Actor:
    """Who sent a request, if their token permits `scope`.

    Raises:
        AccessDeniedError: as `Guard.admit`; also without exactly one token.
    """
    resource, source = request.match_info.route.resource, str(address_of(request))
    attempt = Attempt(request.method, resource.canonical if resource is not None else "", source, scope)
    headers = request.headers.getall("Authorization", [])
    if len(headers) != 1:
        await guard.refuse(Refusal(attempt, "several Authorization headers" if headers else "no Authorization header"))
    scheme, _, token = headers[0].partition(" ")
    if scheme.lower() != "bearer":
        await guard.refuse(Refusal(attempt, "the Authorization header holds no bearer token"))
    return Actor.of(await guard.admit(token, attempt), source)


def address_of(request: web.Request) -> Address | None:
    """The address at the other end of a request's connection; None if it is unknown."""
    return parse_address((request.remote or "").partition("%")[0])
