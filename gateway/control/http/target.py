"""Reads the target of a request from its path: a user id, or ``address/`` and an address or network."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from gateway.control.http.problem import Problem
from gateway.control.target import ADDRESS, USER, Target, address_in, parse_target

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(route: Callable[[str, Handler], web.RouteDef], path: str, handler: Handler) -> list[web.RouteDef]:
    """The routes of an operation on a target, such as ``web.get``: users and addresses have paths of their own."""
    return [route(f"{path}/address/{{address:.+}}", handler), route(f"{path}/{{user}}", handler)]


def target_in_path(request: web.Request) -> Target:
    """The target of a request, by its path.

    Raises:
        Problem: 400; it cannot be one, or it names an address where user ids stand: callers who are known by address
            have no user id, so nothing that is set there would have an effect.
    """
    target = stored_target_in_path(request)
    if target.kind == USER and (address := address_in(target.name)) is not None:
        path = request.path.removesuffix(request.match_info["user"])
        raise Problem(HTTPStatus.BAD_REQUEST, f"this is an address, not a user id; its path is {path}address/{address}")
    return target


def stored_target_in_path(request: web.Request) -> Target:
    """The same, to show or remove what is stored. Older versions have stored addresses as user ids.

    Raises:
        Problem: 400; it cannot be a target.
    """
    address = request.match_info.get(ADDRESS)
    try:
        return parse_target(USER, request.match_info[USER]) if address is None else parse_target(ADDRESS, address)
    except ValueError as error:
        what = "a user id" if address is None else "what follows address/"
        raise Problem(HTTPStatus.BAD_REQUEST, f"{what} {error}") from None
