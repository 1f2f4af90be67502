"""Parameters in a request's query and path, read strictly: each at most once."""

import re
from http import HTTPStatus

from aiohttp import web

from gateway.control.http.problem import Problem

_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_MAX_USER = 256


def allow_only(request: web.Request, *names: str) -> None:
    """Refuse other parameters: a misspelled ``dry_run`` must not do what it was to prevent.

    Raises:
        Problem: 400; there is another one.
    """
    if not request.query.keys() <= set(names):
        raise Problem(HTTPStatus.BAD_REQUEST, f"unknown query parameter; known are {', '.join(names)}")


def query_integer(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """An integer.

    Raises:
        Problem: 400; it is not one, out of range, or given twice.
    """
    values = request.query.getall(name, [])
    if not values:
        return default
    if len(values) > 1 or _INTEGER.fullmatch(values[0]) is None or not least <= int(values[0]) <= most:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be an integer from {least} to {most}, given once")
    return int(values[0])


def query_flag(request: web.Request, name: str) -> bool:
    """``true`` or ``false``; false if it is missing.

    Raises:
        Problem: 400; it is something else, or given twice.
    """
    values = request.query.getall(name, ["false"])
    if len(values) > 1 or values[0] not in {"true", "false"}:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be true or false, given once")
    return values[0] == "true"


def query_string(request: web.Request, name: str, max_length: int = _MAX_USER) -> str | None:
    """A string; None if it is missing.

    Raises:
        Problem: 400; it is empty, too long, or given twice.
    """
    values = request.query.getall(name, [])
    if len(values) > 1 or any(not 0 < len(value) <= max_length for value in values):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be a string of 1 to {max_length} characters, given once")
    return values[0] if values else None


def user_in_path(request: web.Request) -> str:
    """The user id in a request's path.

    Raises:
        Problem: 400; it cannot be one.
    """
    user = request.match_info["user"]
    if not 0 < len(user) <= _MAX_USER or not _is_unicode(user):
        raise Problem(HTTPStatus.BAD_REQUEST, f"a user id must be a string of 1 to {_MAX_USER} characters in UTF-8")
    return user


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
