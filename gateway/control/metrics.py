"""Metrics for Prometheus: of all workers, whichever is asked."""

from collections.abc import Awaitable, Callable

from aiohttp import web


class MetricsApi:
    """Answers ``/metrics``.

    Args:
        collect: Returns the body in the format that an Accept field asks for, and its content type.
    """

    def __init__(self, collect: Callable[[str], Awaitable[tuple[bytes, str]]]) -> None:
        self._collect = collect

    def add_to(self, app: web.Application) -> None:
        """Serve the path."""
        app.router.add_get("/metrics", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        body, content_type = await self._collect(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
