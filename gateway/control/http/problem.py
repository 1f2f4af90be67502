"""Errors as `application/problem+json` (RFC 9457). Every error of the control plane becomes one here, and only here."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.auth.guard import ForbiddenError, TooManyAttemptsError, UnauthorizedError
from gateway.control.errors import (
    ConflictError,
    ControlError,
    InvalidJsonError,
    InvalidObjectError,
    InvalidPlanError,
    NoOverrideError,
    NoReservationError,
    NoRevisionError,
    ReloadRejectedError,
)
from gateway.telemetry.log import Log

_PROBLEMS: tuple[tuple[type[Exception], HTTPStatus, dict[str, str]], ...] = (
    (UnauthorizedError, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"}),  # RFC 6750 section 3
    (ForbiddenError, HTTPStatus.FORBIDDEN, {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
    (TooManyAttemptsError, HTTPStatus.TOO_MANY_REQUESTS, {}),
    (InvalidJsonError, HTTPStatus.BAD_REQUEST, {}),
    (InvalidObjectError, HTTPStatus.BAD_REQUEST, {}),
    (InvalidPlanError, HTTPStatus.BAD_REQUEST, {}),
    (NoOverrideError, HTTPStatus.NOT_FOUND, {}),
    (NoReservationError, HTTPStatus.NOT_FOUND, {}),
    (NoRevisionError, HTTPStatus.NOT_FOUND, {}),
    (ConflictError, HTTPStatus.CONFLICT, {}),
    (ReloadRejectedError, HTTPStatus.UNPROCESSABLE_ENTITY, {}),
    (ControlError, HTTPStatus.SERVICE_UNAVAILABLE, {}),
)
"""What each error is in HTTP. The first that fits counts."""


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A response to a request that was not done.

    Attributes:
        status: Its status code.
        detail: What is wrong, for people; empty if the status says it all.
        headers: Its headers.
        more: Further members of the problem.
    """

    def __init__(
        self, status: HTTPStatus, detail: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more

    def response(self) -> web.Response:
        """The problem as a response."""
        return web.Response(
            status=self.status, text=self._text, content_type="application/problem+json", headers=self.headers
        )

    def encode(self, headers: bytes = b"") -> bytes:
        """The problem as the bytes of a response, with more header lines."""
        body = self._text.encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in (self.headers or {}).items())
        head = (
            f"HTTP/1.1 {self.status} {self.status.phrase}\r\nContent-Type: application/problem+json; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n{lines}"
        )
        return b"%b%b\r\n%b" % (head.encode(), headers, body)

    @property
    def _text(self) -> str:
        members: dict[str, Any] = {"title": self.status.phrase, "status": int(self.status)}
        if self.detail:
            members["detail"] = self.detail
        return json.dumps(members | self.more)


def problem_of(error: Exception) -> Problem | None:
    """What an error is in HTTP; None for an unexpected one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        kept = {name: value for name, value in error.headers.items() if name in {"Allow", "Location"}}
        return Problem(HTTPStatus(error.status), headers=kept)
    for kind, status, headers in _PROBLEMS:
        if isinstance(error, kind):
            return Problem(status, str(error), headers, **getattr(error, "members", {}))
    return None


class Problems:
    """Responds to every error with a problem. Unexpected ones are logged; the client learns nothing of them.

    Args:
        log: Of this process.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request."""
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - this is the one place for all that aiohttp reads
            return self.of(error).response()

    def of(self, error: Exception) -> Problem:
        """What an error is for whoever sent the request."""
        problem = problem_of(error)
        if problem is None:
            self._log.failure("control_request_failed", error)
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR)
        return problem
