"""Reads what a request to the control plane has: its bearer token, parameters (each at most once) and JSON body."""

import asyncio
import re
from http import HTTPStatus
from socket import AF_UNIX, socket

from aiohttp import web

from gateway.auth.bearer import admit_bearer
from gateway.auth.grant import Actor, Scope
from gateway.auth.guard import Attempt, Guard
from gateway.control.http.problem import Problem
from gateway.control.json_object import JsonObject
from gateway.limits.address import UNIX, Address, Unix, parse_address
from gateway.limits.duration import format_duration, parse_duration

MAX_BODY = 65_536
"""Bytes of a JSON body; the largest that makes sense is an override."""

BODY_TIMEOUT = web.AppKey("body_timeout", float)
"""Seconds for a body to arrive."""

_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_MAX_USER = 256


async def authorize(request: web.Request, guard: Guard, scope: Scope) -> Actor:
    """Who sent a request, if their bearer token permits `scope`.

    Raises:
        AccessDeniedError: see `admit_bearer`.
    """
    resource, source = request.match_info.route.resource, str(address_of(request))
    attempt = Attempt(request.method, resource.canonical if resource is not None else "", source, scope)
    return await admit_bearer(guard, attempt, request.headers.getall("Authorization", ()))


def address_of(request: web.Request) -> Address | Unix | None:
    """The address at the other end of a request's connection; None if it is unknown."""
    accepted = request.transport.get_extra_info("socket") if request.transport is not None else None
    return address_at(accepted, request.remote)


def address_at(accepted: socket | None, host: str | None) -> Address | Unix | None:
    """The address at the other end of a socket, whose peer name has this host; None if it is unknown."""
    if accepted is not None and accepted.family == AF_UNIX:
        return UNIX
    return parse_address((host or "").partition("%")[0])


def allow_only(request: web.Request, *names: str) -> None:
    """Refuse other parameters: a misspelled ``dry_run`` must not do what it was to prevent.

    Raises:
        Problem: 400; there is another one.
    """
    if not request.query.keys() <= set(names):
        known = f"known are {', '.join(names)}" if names else "there are none"
        raise Problem(HTTPStatus.BAD_REQUEST, f"unknown query parameter; {known}")


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


def query_duration(request: web.Request, name: str, least: float, most: float) -> float | None:
    """A duration, as in ``5m``, in seconds; None if it is missing.

    Raises:
        Problem: 400; it is not one, out of range, or given twice.
    """
    values = request.query.getall(name, [])
    if not values:
        return None
    try:
        seconds = parse_duration(values[0]) if len(values) == 1 else 0.0
    except ValueError:
        seconds = 0.0
    if not least <= seconds <= most:
        limits = f"from {format_duration(least)} to {format_duration(most)}"
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be a duration {limits}, as in 5m, given once")
    return seconds


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


async def read_json_body(request: web.Request) -> JsonObject:
    """The JSON object in a request's body.

    Raises:
        Problem: as `read_body`.
        InvalidJsonError: it is not a strict JSON object.
    """
    return JsonObject.parse(await read_body(request, "application/json", MAX_BODY))


async def read_body(request: web.Request, media_type: str, most: int) -> bytes:
    """A request's body, up to `most` bytes.

    Raises:
        Problem: 415 if it is sent as something else, 408 if it has not arrived in time, 413 if it is too large.
    """
    if request.content_type != media_type or (request.charset or "utf-8").lower() != "utf-8":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {media_type} in UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must not have a Content-Encoding")
    # Most bodies arrive together with their head: then nothing is waited for, and no timer is needed.
    body = bytearray(request.content.read_nowait())
    seconds = request.app[BODY_TIMEOUT]
    try:
        if not request.content.is_eof():
            async with asyncio.timeout(seconds):
                while len(body) <= most and (chunk := await request.content.readany()):
                    body += chunk
    except TimeoutError:
        close = {"Connection": "close"}
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {seconds:g} s", close) from None
    if len(body) > most:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {most} bytes")
    return bytes(body)
