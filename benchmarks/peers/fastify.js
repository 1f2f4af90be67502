// Fastify with @fastify/http-proxy and @fastify/rate-limit on Redis. The plugin counts one window for each request, so
// there is a user's and no endpoint's: less work than the others have. Tuned: no log, no headers of the limit,
// connections to the origin kept.
const fastify = require('fastify')({ logger: false, keepAliveTimeout: 75000 })
const Redis = require('ioredis')

const silent = {
  'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false, 'retry-after': false
}

async function main () {
  await fastify.register(require('@fastify/rate-limit'), {
    global: true,
    max: @user_burst@,
    timeWindow: 3600 * 1000,
    redis: new Redis({ host: '127.0.0.1', port: @redis@ }),
    keyGenerator: request => request.headers['x-user-id'],
    addHeaders: silent,
    addHeadersOnExceeding: silent
  })
  await fastify.register(require('@fastify/http-proxy'), {
    upstream: 'http://127.0.0.1:@origin@',
    undici: { connections: 256, pipelining: 1, keepAliveTimeout: 60000 }
  })
  await fastify.listen({ host: '127.0.0.1', port: @port@, backlog: 8192 })
}

main()
