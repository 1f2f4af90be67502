"""Reads the target of a request from its path: a user id, ``address/`` and an address or network, or attributes."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from gateway.control.http.problem import Problem
from gateway.control.target import ATTRIBUTES, Target, address_in, parse_target, unknown_attribute
from gateway.limits.holder import ADDRESS, USER
from gateway.limits.identity import Identity

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(route: Callable[[str, Handler], web.RouteDef], path: str, handler: Handler) -> list[web.RouteDef]:
    """The routes of an operation on a target, such as ``web.get``: each kind of target has a path of its own."""
    return [
        route(f"{path}/address/{{address:.+}}", handler),
        route(f"{path}/{{user}}", handler),
        route(f"{path}/{{attribute}}/{{value:.+}}", handler),
    ]


def target_in_path(request: web.Request, identity: Identity) -> Target:
    """The target of a request, by its path.

    Args:
        request: The request.
        identity: Knows which attributes callers may have.

    Raises:
        Problem: 400; it cannot be one, or it names an address where user ids stand: callers who are known by address
            have no user id, so nothing that is set there would have an effect. Likewise an attribute that no caller
            has.
    """
    target = stored_target_in_path(request)
    if target.kind == USER and (address := address_in(target.name)) is not None:
        path = request.path.removesuffix(target.name)
        raise Problem(HTTPStatus.BAD_REQUEST, f"this is an address, not a user id; its path is {path}address/{address}")
    if (name := unknown_attribute(target, identity)) is not None:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"no identity source names the attribute {name}; if this is a user id with a slash, write the slash as %2F",
        )
    return target


def stored_target_in_path(request: web.Request) -> Target:
    """The same, to show or remove what is stored. Older versions have stored addresses as user ids.

    Raises:
        Problem: 400; it cannot be a target.
    """
    kind, name, what = _named(request)
    try:
        return parse_target(kind, name)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{what} {error}") from None


def _named(request: web.Request) -> tuple[str, str, str]:
    """The kind of a target, its name, and what it is called in a sentence."""
    found = request.match_info
    if ADDRESS in found:
        return ADDRESS, found[ADDRESS], "what follows address/"
    if USER in found:
        return USER, found[USER], "a user id"
    first = f"/{found['attribute']}/"
    return ATTRIBUTES, first[1:] + request.rel_url.raw_path.partition(first)[2], "the end of the path"
