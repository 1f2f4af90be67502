"""`read_json_body`: the JSON object in a request's body."""

from http import HTTPStatus

from aiohttp import web

from gateway.auth.strict_json import StrictJsonError, parse_strict_json
from gateway.control.http.problem import Problem
from gateway.control.json_object import JsonObject

MAX_BODY = 65_536
"""Bytes of a body; the largest that makes sense is an override."""


async def read_json_body(request: web.Request) -> JsonObject:
    """The JSON object in a request's body.

    Raises:
        Problem: 415 if it is sent as something else, 413 if it is too large, 400 if it is not a strict JSON object.
    """
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json in UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must not have a Content-Encoding")
    try:
        document = parse_strict_json(await request.read())
    except web.HTTPRequestEntityTooLarge:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY} bytes") from None
    except StrictJsonError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not strict JSON: {error}") from None
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return JsonObject(document)
