"""CORS on the control plane: which web pages may see its responses."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.auth.cors import Cors


class CorsHeaders:
    """Adds CORS headers to responses, and responds to preflight requests.

    Args:
        cors: Which origins are allowed.

    Attributes:
        lines: The header lines of a response to whoever is no page.
    """

    def __init__(self, cors: Cors) -> None:
        self._cors = cors
        self.lines = "".join(f"{name}: {value}\r\n" for name, value in cors.headers(None).items()).encode()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request."""
        preflight = self._cors.preflight(request.method, request.headers)
        if preflight is not None:
            return web.Response(status=204, headers=preflight)
        response = await handler(request)
        response.headers.update(self._cors.headers(request.headers.get("Origin")))
        return response
