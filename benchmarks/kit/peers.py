"""The peers to compare. Their configurations are in `benchmarks/peers`."""

from dataclasses import replace

from benchmarks.kit.peer import Peer
from benchmarks.kit.programs import PYTHON

GATEWAY = Peer(
    "gateway",
    programs=(),
    files=("gateway.yaml", "rules.yaml", "no_rules.yaml"),
    commands=((PYTHON, "-m", "gateway", "serve", "--config", "@folder@/gateway.yaml"),),
    version=(PYTHON, "-m", "gateway", "--version"),
    values={"workers": 1, "rules": "rules.yaml"},
)
UNLIMITED = replace(GATEWAY, name="gateway without limits", values={"workers": 1, "rules": "no_rules.yaml"})
NGINX = Peer(
    "nginx",
    programs=("nginx",),
    files=("nginx.conf",),
    commands=(("nginx", "-c", "@folder@/nginx.conf"),),
    version=("nginx", "-v"),
    redis=False,
)
NGINX_LUA = Peer(
    "nginx + Lua + Redis",
    programs=("nginx",),
    files=("nginx.conf", "limit.lua"),
    commands=(("nginx", "-c", "@folder@/nginx.conf"),),
    version=("nginx", "-v"),
    values={
        "modules": "load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;",
        "http": "lua_package_path '@folder@/?.lua;;';",
        "limit": "access_by_lua_block { require('limit')() }",
    },
)
ENVOY = Peer(
    "Envoy, local limit",
    programs=("envoy",),
    files=("envoy.yaml",),
    commands=(
        ("envoy", "-c", "@folder@/envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
    ),
    version=("envoy", "--version"),
    redis=False,
)  # fmt: skip
ENVOY_RATELIMIT = Peer(
    "Envoy + ratelimit + Redis",
    programs=("envoy", "ratelimit"),
    files=("envoy_ratelimit.yaml", "ratelimit.yaml"),
    commands=(
        ("sh", "-c", "mkdir -p @folder@/r/config && cp @folder@/ratelimit.yaml @folder@/r/config/ && exec ratelimit"),
        ("envoy", "-c", "@folder@/envoy_ratelimit.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
    ),
    version=("envoy", "--version"),
    environment={
        "RUNTIME_ROOT": "@folder@", "RUNTIME_SUBDIRECTORY": "r", "RUNTIME_WATCH_ROOT": "false",
        "REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": "127.0.0.1:@redis@", "LOCAL_CACHE_SIZE_IN_BYTES": "4194304",
        "HOST": "127.0.0.1", "PORT": "@unused@", "GRPC_HOST": "127.0.0.1", "GRPC_PORT": "@spare@",
        "DEBUG_HOST": "127.0.0.1", "DEBUG_PORT": "@unused_too@",
        "USE_STATSD": "false", "DISABLE_STATS": "true", "LOG_LEVEL": "error", "GOMAXPROCS": "1",
    },
)  # fmt: skip
HAPROXY = Peer(
    "HAProxy, stick tables",
    programs=("haproxy",),
    files=("haproxy.cfg",),
    commands=(("haproxy", "-db", "-q", "-f", "@folder@/haproxy.cfg"),),
    version=("haproxy", "-v"),
    redis=False,
)
FASTIFY = Peer(
    "Fastify + Redis",
    programs=("node",),
    files=("fastify.js",),
    commands=(("node", "@folder@/fastify.js"),),
    version=("node", "-p", "require('fastify/package.json').version"),
)
PLAIN_AIOHTTP = Peer(
    "plain aiohttp + Redis",
    programs=(),
    files=("plain_aiohttp.py",),
    commands=((PYTHON, "@folder@/plain_aiohttp.py"),),
    version=(PYTHON, "-c", "import aiohttp; print(aiohttp.__version__)"),
)

PEERS = (GATEWAY, NGINX, NGINX_LUA, ENVOY, ENVOY_RATELIMIT, HAPROXY, FASTIFY, PLAIN_AIOHTTP)
