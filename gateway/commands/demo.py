"""A small upstream for a first try: it says back what it was asked."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


async def _say_back(request: web.BaseRequest) -> web.Response:
    body = await request.read()
    said = {
        "method": request.method,
        "path": request.raw_path,
        "headers": dict(request.headers),
        "body_bytes": len(body),
    }
    return web.Response(text=json.dumps(said, indent=2) + "\n", content_type="application/json")


@asynccontextmanager
async def demo_upstream(host: str, port: int) -> AsyncIterator[None]:
    """Serve the demo upstream while the block runs.

    Raises:
        OSError: the address is taken.
    """
    runner = web.ServerRunner(web.Server(_say_back, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
