"""Health, for load balancers and orchestrators: cheap, unauthenticated, on the control listener only."""

from collections.abc import Callable

from aiohttp import web


class HealthApi:
    """Answers ``/healthz`` (the process is alive) and ``/readyz`` (it serves; whether degraded is said in the body).

    Args:
        draining: Whether the gateway is on its way out.
        degraded: Whether the store is away and limits are enforced from memory.
    """

    def __init__(self, draining: Callable[[], bool], degraded: Callable[[], bool]) -> None:
        self._draining = draining
        self._degraded = degraded

    def add_to(self, app: web.Application) -> None:
        """Serve the two paths."""
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _request: web.Request) -> web.Response:
        if self._draining():
            return web.json_response({"status": "draining"}, status=503)
        return web.json_response({"status": "degraded" if self._degraded() else "ready"})
