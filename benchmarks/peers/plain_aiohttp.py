"""The proxy that most would write: aiohttp's server and client, and one redis-py script call a request.

Tuned: uvloop, hiredis, no access log, one session whose connections are kept.
"""

import uvloop
from aiohttp import ClientSession, TCPConnector, web
from redis.asyncio import Redis

ORIGIN = "http://127.0.0.1:@origin@"
BUCKETS = ("@user_interval@", "@user_burst@", "@endpoint_interval@", "@endpoint_burst@")
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}


async def proxy(request: web.Request) -> web.StreamResponse:
    user = request.headers.get("X-User-Id", request.remote)
    keys = (f"user:{user}", "endpoint:orders")
    if not await request.app["redis"].evalsha("@sha@", 2, *keys, *BUCKETS):
        return web.Response(status=429, text="Too Many Requests\n")
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    data = request.content if request.can_read_body else None
    async with request.app["session"].request(
        request.method, ORIGIN + request.path_qs, headers=headers, data=data, allow_redirects=False
    ) as answer:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


async def application() -> web.Application:
    app = web.Application()
    app["redis"] = Redis(host="127.0.0.1", port=int("@redis@"), protocol=2)
    app["session"] = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False)
    app.router.add_route("*", "/{rest:.*}", proxy)
    return app


uvloop.install()
web.run_app(application(), host="127.0.0.1", port=int("@port@"), access_log=None, print=None, backlog=8192)
