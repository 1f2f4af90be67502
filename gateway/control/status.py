"""`StatusApi`: health and metrics, for load balancers, orchestrators and Prometheus; without a token."""

from collections.abc import Awaitable, Callable

from aiohttp import web


class StatusApi:
    """Serves ``/healthz`` (the process is alive), ``/readyz`` (it takes requests) and ``/metrics`` (of all workers).

    Args:
        is_draining: Whether the worker is stopping.
        is_degraded: Whether Redis is unavailable, and limits are enforced from memory.
        is_pinned: Whether a revision of the rules is in force although the files differ.
        scrape: Returns the metrics in the format that an Accept header asks for, and its content type.
    """

    def __init__(
        self,
        is_draining: Callable[[], bool],
        is_degraded: Callable[[], bool],
        is_pinned: Callable[[], bool],
        scrape: Callable[[str], Awaitable[tuple[bytes, str]]],
    ) -> None:
        self._is_draining = is_draining
        self._is_degraded = is_degraded
        self._is_pinned = is_pinned
        self._scrape = scrape

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self._health),
            web.get("/readyz", self._readiness),
            web.get("/metrics", self._metrics),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readiness(self, _request: web.Request) -> web.Response:
        if self._is_draining():
            return web.json_response({"status": "draining"}, status=503)
        status = "degraded" if self._is_degraded() else "ready"
        return web.json_response({"status": status} | ({"rules": "pinned"} if self._is_pinned() else {}))

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
