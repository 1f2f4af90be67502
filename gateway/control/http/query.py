"""Parameters in a request's query: each once, and read strictly."""

import re
from http import HTTPStatus

from aiohttp import web

from gateway.control.http.problem import Problem

_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


def only(request: web.Request, *names: str) -> None:
    """Have no parameters but these: one that is misspelled must not do what it was to prevent.

    Raises:
        Problem: 400; there is another.
    """
    if not request.query.keys() <= set(names):
        raise Problem(HTTPStatus.BAD_REQUEST, f"there is no parameter but {' and '.join(names)}")


def whole(request: web.Request, name: str, standard: int, least: int, most: int) -> int:
    """A whole number.

    Raises:
        Problem: 400; it is none, or out of range, or stands there twice.
    """
    values = request.query.getall(name, [])
    if not values:
        return standard
    if len(values) > 1 or _WHOLE.fullmatch(values[0]) is None or not least <= int(values[0]) <= most:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} is a whole number from {least} to {most}, and stands once")
    return int(values[0])


def flag(request: web.Request, name: str) -> bool:
    """``true`` or ``false``; false when it is not there.

    Raises:
        Problem: 400; it is something else.
    """
    values = request.query.getall(name, ["false"])
    if len(values) > 1 or values[0] not in {"true", "false"}:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} is true or false, and stands once")
    return values[0] == "true"


def word(request: web.Request, name: str, longest: int) -> str | None:
    """A text; None when it is not there.

    Raises:
        Problem: 400; it is empty, too long, or stands there twice.
    """
    values = request.query.getall(name, [])
    if len(values) > 1 or any(not 0 < len(value) <= longest for value in values):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} is a text of 1 to {longest} characters, and stands once")
    return values[0] if values else None
