"""The peers to compare. Their configurations are in `benchmarks/peers`."""

from dataclasses import replace

from benchmarks.kit.grpc_load import PROGRAM as GRPC_LOAD
from benchmarks.kit.grpc_question import GrpcQuestion
from benchmarks.kit.load import Question
from benchmarks.kit.peer import Peer
from benchmarks.kit.programs import COMPILED_BIN, PYTHON

_PURE = (PYTHON, "-m", "gateway")
GATEWAY = Peer(
    "gateway",
    programs=(),
    files=("gateway.yaml", "rules.yaml", "no_rules.yaml"),
    commands=((*_PURE, "serve", "--config", "@folder@/gateway.yaml"),),
    version=(*_PURE, "--version"),
    values={"workers": 1, "rules": "rules.yaml", "attributes": ""},
)
_COMPILED = str(COMPILED_BIN / "gateway")


def compiled(peer: Peer) -> Peer:
    """The same peer, with the compiled build of the gateway."""

    def command(words: tuple[str, ...]) -> tuple[str, ...]:
        return (_COMPILED, *words[len(_PURE) :]) if words[: len(_PURE)] == _PURE else words

    return replace(
        peer,
        name=f"{peer.name} (compiled)",
        programs=(*peer.programs, _COMPILED),
        commands=tuple(map(command, peer.commands)),
        version=command(peer.version),
    )


COMPILED = compiled(GATEWAY)
UNLIMITED = replace(GATEWAY, name="gateway without limits", values={**GATEWAY.values, "rules": "no_rules.yaml"})
FIVE_LEVELS = replace(
    GATEWAY,
    name="gateway, five levels",
    files=(*GATEWAY.files, "five_levels.yaml"),
    values={
        **GATEWAY.values,
        "rules": "five_levels.yaml",
        "attributes": ", attributes: {org: X-User-Id, team: X-User-Id}",
    },
)
MEASURED, AT_ONCE = (
    replace(
        GATEWAY,
        name=f"gateway, {what}",
        files=(*GATEWAY.files, file),
        values={**GATEWAY.values, "rules": file},
    )
    for what, file in (("measured cost", "measured.yaml"), ("requests at once", "at_once.yaml"))
)
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

_DOOR = (*_PURE, "serve", "--config", "@folder@/gateway_door.yaml")
_DOOR_FILES = ("gateway_door.yaml", "rules.yaml")
DOOR = replace(
    GATEWAY,
    name="the door alone",
    files=_DOOR_FILES,
    commands=(_DOOR,),
    values={"door": "ext_authz: {listen: 127.0.0.1:@port@, from: [127.0.0.1]}"},
)
ENVOY_DOOR = replace(
    ENVOY,
    name="Envoy + ext_authz",
    files=("envoy_door.yaml", *_DOOR_FILES),
    commands=(
        _DOOR,
        ("envoy", "-c", "@folder@/envoy_door.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
    ),
    values={"door": "ext_authz: {listen: 127.0.0.1:@spare@, from: [127.0.0.1]}"},
    redis=True,
)
ENVOY_RATE_LIMIT_DOOR = replace(
    ENVOY_DOOR,
    name="Envoy + rate_limit",
    files=("envoy_ratelimit.yaml", *_DOOR_FILES),
    commands=(
        _DOOR,
        ("envoy", "-c", "@folder@/envoy_ratelimit.yaml", "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
    ),
    values={
        "door": "rate_limit: {listen: 127.0.0.1:@spare@, from: [127.0.0.1], "
        "descriptors: {user: user, endpoint: endpoint}}"
    },
)
NGINX_DOOR = replace(
    NGINX,
    name="nginx + forward_auth",
    files=("nginx.conf", *_DOOR_FILES),
    commands=(_DOOR, ("nginx", "-c", "@folder@/nginx.conf")),
    values={
        "door": "forward_auth: {listen: 127.0.0.1:@spare@, from: [127.0.0.1], refuse_with: 403}",
        "http": "upstream door { server 127.0.0.1:@spare@; keepalive 256; keepalive_requests 1000000000; }",
        "limit": "auth_request /_may_pass; location = /_may_pass { auth_request off; internal; "
        "proxy_pass http://door/; proxy_http_version 1.1; proxy_set_header Connection ''; "
        "proxy_pass_request_body off; proxy_set_header Content-Length ''; "
        "proxy_set_header X-Forwarded-Method $request_method; proxy_set_header X-Forwarded-Uri $request_uri; "
        "proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-For $remote_addr; }",
    },
    redis=True,
)

_CHECK = Question("/api/v1/check-limit", '{"user_id": "@user@", "endpoint": "orders", "weight": 1}')
CHECK_LIMIT = replace(
    GATEWAY,
    name="check-limit",
    files=("gateway_check_limit.yaml", "rules.yaml"),
    commands=((*GATEWAY.commands[0][:-1], "@folder@/gateway_check_limit.yaml"),),
    question=_CHECK,
)
CHECK_LIMIT_COMPILED = compiled(CHECK_LIMIT)
RATELIMIT = replace(
    ENVOY_RATELIMIT,
    name="ratelimit over HTTP",
    programs=("ratelimit",),
    files=("ratelimit.yaml",),
    commands=ENVOY_RATELIMIT.commands[:1],
    version=("true",),
    environment={**ENVOY_RATELIMIT.environment, "PORT": "@port@"},
    question=Question(
        "/json",
        '{"domain": "bench", "descriptors": [{"entries": [{"key": "user", "value": "@user@"}]}, '
        '{"entries": [{"key": "endpoint", "value": "orders"}]}]}',
    ),
)
"""The service without a proxy that asks it. It prints no version."""

RATELIMIT_GRPC = replace(
    RATELIMIT,
    name="ratelimit over one gRPC connection",
    programs=("ratelimit", GRPC_LOAD),
    environment={**ENVOY_RATELIMIT.environment, "GRPC_PORT": "@port@"},
    question=None,
    grpc=GrpcQuestion(
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
        (
            (1, "bench"),
            (2, ((1, ((1, "user"), (2, "@user@"))),)),
            (2, ((1, ((1, "endpoint"), (2, "orders"))),)),
        ),
    ),
)
_HOUR = 3_600_000
GUBERNATOR = Peer(
    "gubernator over HTTP",
    programs=("gubernator",),
    files=(),
    commands=(("gubernator",),),
    version=("true",),
    environment={
        "GUBER_HTTP_ADDRESS": "127.0.0.1:@port@", "GUBER_GRPC_ADDRESS": "127.0.0.1:@spare@",
        "GUBER_PEER_DISCOVERY_TYPE": "member-list", "GUBER_MEMBERLIST_ADDRESS": "127.0.0.1:@unused@",
        "GUBER_MEMBERLIST_BIND_ADDRESS": "127.0.0.1:@unused@", "GUBER_MEMBERLIST_KNOWN_NODES": "127.0.0.1:@unused@",
        "GUBER_WORKER_COUNT": "1", "GUBER_LOG_LEVEL": "error", "OTEL_TRACES_EXPORTER": "none", "GOMAXPROCS": "1",
    },
    redis=False,
    question=Question(
        "/v1/GetRateLimits",
        f'{{"requests": [{{"name": "user", "uniqueKey": "@user@", "hits": "1", "limit": "1000000", '
        f'"duration": "{_HOUR}"}}, {{"name": "endpoint", "uniqueKey": "orders", "hits": "1", "limit": "100000000", '
        f'"duration": "{_HOUR}"}}]}}',
    ),
)  # fmt: skip
"""It keeps its buckets in its own memory: here it is the only one, and so owns all of them. It prints no version."""

GUBERNATOR_GRPC = replace(
    GUBERNATOR,
    name="gubernator over one gRPC connection",
    programs=("gubernator", GRPC_LOAD),
    environment={
        **GUBERNATOR.environment,
        "GUBER_GRPC_ADDRESS": "127.0.0.1:@port@",
        "GUBER_HTTP_ADDRESS": "127.0.0.1:@spare@",
    },
    question=None,
    grpc=GrpcQuestion(
        "/pb.gubernator.V1/GetRateLimits",
        (
            (1, ((1, "user"), (2, "@user@"), (3, 1), (4, 1_000_000), (5, _HOUR))),
            (1, ((1, "endpoint"), (2, "orders"), (3, 1), (4, 100_000_000), (5, _HOUR))),
        ),
    ),
)

RATE_LIMIT_DOOR = replace(
    DOOR,
    name="door rate_limit over one gRPC connection",
    programs=(GRPC_LOAD,),
    values={
        "door": "rate_limit: {listen: 127.0.0.1:@port@, from: [127.0.0.1], "
        "descriptors: {user: user, endpoint: endpoint}}"
    },
    grpc=RATELIMIT_GRPC.grpc,
)
"""The gateway, asked by the protocol of ratelimit."""


def _with_connections(peer: Peer, name: str) -> Peer:
    """The same peer, asked over as many gRPC connections as over HTTP."""
    assert peer.grpc is not None
    return replace(peer, name=name, grpc=peer.grpc._replace(connections=64))


SERVICES = (
    RATELIMIT,
    RATELIMIT_GRPC,
    _with_connections(RATELIMIT_GRPC, "ratelimit over 64 gRPC connections"),
    GUBERNATOR,
    GUBERNATOR_GRPC,
    _with_connections(GUBERNATOR_GRPC, "gubernator over 64 gRPC connections"),
)
"""What services ask for decisions elsewhere."""

DOORS = (GATEWAY, DOOR, NGINX_DOOR, ENVOY_DOOR, ENVOY_RATE_LIMIT_DOOR)
"""The gateway in the path of requests, alone, and asked by other proxies."""

PEERS = (NGINX, NGINX_LUA, ENVOY, ENVOY_RATELIMIT, HAPROXY, FASTIFY, PLAIN_AIOHTTP)
