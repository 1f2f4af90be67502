"""What browsers are told on the control plane."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.auth.cors import Cors


class CorsHeaders:
    """Lets web pages of allowed origins see answers.

    Args:
        cors: Which these are.
    """

    def __init__(self, cors: Cors) -> None:
        self._cors = cors

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a browser that asks first, and say to whom an answer may be shown."""
        answer = self._cors.preflight(request.method, request.headers)
        if answer is not None:
            return web.Response(status=204, headers=answer)
        response = await handler(request)
        response.headers.update(self._cors.headers(request.headers.get("Origin")))
        return response
