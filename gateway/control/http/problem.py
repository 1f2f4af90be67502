"""Errors of the control plane: `application/problem+json` (RFC 9457), the same whoever asks and whatever went wrong."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.telemetry.log import Log


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An answer that is not what was asked for.

    Attributes:
        status: The answer's status code.
        detail: What is wrong with the request, for people; empty when the status says it all.
        headers: Fields of the answer.
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

    def answer(self) -> web.Response:
        """The problem as a response."""
        members: dict[str, Any] = {"title": self.status.phrase, "status": int(self.status)}
        if self.detail:
            members["detail"] = self.detail
        return web.Response(
            status=self.status,
            text=json.dumps(members | self.more),
            content_type="application/problem+json",
            headers=self.headers,
        )


class Problems:
    """Turns every error into a problem: ours, aiohttp's, and those that nobody foresaw, which are logged.

    Args:
        log: Of this process.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, if need be with a problem."""
        try:
            return await handler(request)
        except Problem as problem:
            return problem.answer()
        except web.HTTPException as error:
            headers = {name: value for name, value in error.headers.items() if name in {"Allow", "Location"}}
            return Problem(HTTPStatus(error.status), headers=headers).answer()
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller learns nothing of it
            self._log.failure("control_request_failed", error)
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR).answer()
