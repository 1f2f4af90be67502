"""Reads the target of a request from its path: a user id, or ``address/`` and an address or network."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from gateway.control.http.problem import Problem
from gateway.control.target import ADDRESS, USER, Target
from gateway.limits.address import name_clients, parse_address, parse_clients

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_USER = 256


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
    if target.kind == USER and (address := _address_in(target.name)) is not None:
        path = request.path.removesuffix(request.match_info["user"])
        raise Problem(HTTPStatus.BAD_REQUEST, f"this is an address, not a user id; its path is {path}address/{address}")
    return target


def stored_target_in_path(request: web.Request) -> Target:
    """The same, to show or remove what is stored. Older versions have stored addresses as user ids.

    Raises:
        Problem: 400; it cannot be a target.
    """
    address = request.match_info.get(ADDRESS)
    if address is not None:
        try:
            return Target(ADDRESS, name_clients(parse_clients(address)))
        except ValueError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, f"what follows address/ {error}") from None
    user = request.match_info[USER]
    if not 0 < len(user) <= _MAX_USER or not _is_unicode(user):
        raise Problem(HTTPStatus.BAD_REQUEST, f"a user id must be a string of 1 to {_MAX_USER} characters in UTF-8")
    return Target(USER, user)


def _address_in(user: str) -> str | None:
    """The address or network that was written as a user id, or as a part of a path in which its slash is escaped."""
    text = user.removeprefix("address/")
    try:
        return name_clients(parse_clients(text))
    except ValueError:
        return None if parse_address(text.partition("/")[0]) is None else "{address}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
