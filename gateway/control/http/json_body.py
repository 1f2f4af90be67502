"""Bodies of requests: strict JSON in, all that is wrong with it out."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.auth.strict_json import StrictJsonError, parse_strict_json
from gateway.control.http.problem import Problem

LARGEST_BODY = 65_536
"""Bytes of a body; the largest we have a use for is an override's."""


async def read_json_body(request: web.Request) -> "Members":
    """The JSON object in a request's body.

    Raises:
        Problem: 415 when it is sent as something else, 413 when it is too large, 400 when it is no strict JSON object.
    """
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is application/json in UTF-8")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is not encoded")
    try:
        document = parse_strict_json(await request.read())
    except web.HTTPRequestEntityTooLarge:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {LARGEST_BODY} bytes") from None
    except StrictJsonError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is a JSON object")
    return Members(document)


class Members:
    """The members of an object. What is wrong is noted; `close` tells it all at once.

    Args:
        document: The object.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._known: set[str] = set()
        self._errors: list[dict[str, str]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._document

    @property
    def is_wrong(self) -> bool:
        """Whether something wrong was noted so far."""
        return bool(self._errors)

    def refuse(self, name: str, expected: str) -> None:
        """Note what a member should be."""
        self._errors.append({"pointer": f"#/{name}", "detail": expected})

    def take(self, name: str) -> Any:
        """A member that has to be there, whatever it is; None when it is not."""
        self._known.add(name)
        if name not in self._document:
            self.refuse(name, "this is required")
        return self._document.get(name)

    def text(self, name: str, longest: int = 256) -> str:
        """A text that is not empty."""
        value = self.take(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            if name in self:
                self.refuse(name, f"a text of 1 to {longest} characters")
            return ""
        return value

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number, written as one: not ``1.0``, and not ``true``."""
        value = self.take(name)
        if type(value) is not int or not least <= value <= most:
            if name in self:
                self.refuse(name, f"a whole number from {least} to {most}")
            return least
        return value

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        """One of several words."""
        value = self.take(name)
        if value not in options:
            if name in self:
                self.refuse(name, f"one of {', '.join(options)}")
            return ""
        return str(value)

    def texts(self, name: str, longest: int = 64, most: int = 1000) -> tuple[str, ...]:
        """A list of texts, each once, that is not empty; an empty one only when the member is not there."""
        if name not in self:
            self._known.add(name)
            return ()
        value = self.take(name)
        if (
            not isinstance(value, list)
            or not 0 < len(value) <= most
            or not all(isinstance(item, str) and 0 < len(item) <= longest for item in value)
            or len(set(value)) < len(value)
        ):
            self.refuse(name, f"a list of 1 to {most} texts, each once, of 1 to {longest} characters")
            return ()
        return tuple(value)

    def close(self) -> None:
        """Be done with the object.

        Raises:
            Problem: 400, with all that is wrong; members that nobody asked for included.
        """
        for name in sorted(set(self._document) - self._known):
            self.refuse(name[:64], "there is no such member")
        if self._errors:
            raise Problem(HTTPStatus.BAD_REQUEST, "the body is not what it should be", errors=self._errors[:20])
