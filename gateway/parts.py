"""The parts that a worker is made of, each made as its settings say."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from aiohttp.http import HttpRequestParser

from gateway import __version__
from gateway.analytics.files import FileSink
from gateway.analytics.sink import Sink, SinkUnavailableError
from gateway.auth.verifier import Verifier
from gateway.limiter.limiter import Limiter
from gateway.limiter.observer import RedisObserver
from gateway.limiter.open import open_limiter
from gateway.limits.identity import BearerToken, Identity, TrustedHeader
from gateway.proxy.forward import Forwarder
from gateway.proxy.observer import RequestObserver
from gateway.redis.address import Address, Kind, Login, Trust
from gateway.redis.client import RedisClient
from gateway.settings.analytics import Analytics
from gateway.settings.gateway import Settings
from gateway.settings.identity import IdentityPolicy, Jwt
from gateway.settings.store import Store
from gateway.settings.tracing import Tracing
from gateway.settings.url import RedisUrl
from gateway.telemetry.log import Log
from gateway.tracing.traced import TracedForwarder, TracingObserver
from gateway.tracing.tracer import Tracer


class UnsafeParserError(RuntimeError):
    """aiohttp came without its C parser; the one in Python lets malformed requests through."""


def require_c_parser() -> None:
    """Refuse to work without aiohttp's C parser.

    Raises:
        UnsafeParserError: it is missing or turned off.
    """
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise UnsafeParserError(
            "aiohttp runs without its C parser, and the one in Python accepts requests that can be smuggled; "
            "unset AIOHTTP_NO_EXTENSIONS and install aiohttp from a wheel"
        )


def identity_of(policy: IdentityPolicy) -> Identity:
    """Who is asking, with what it takes to verify tokens."""
    sources = [
        BearerToken(Verifier(source.policy), source.claim, source.tier_claim, source.header)
        if isinstance(source, Jwt)
        else source
        for source in policy.sources
    ]
    return Identity(sources, policy.trusted_proxies, policy.hash_key)


def identity_fields(policy: IdentityPolicy) -> list[str]:
    """Names of the header fields that only a trusted proxy may set."""
    return [
        name
        for source in policy.sources
        if isinstance(source, TrustedHeader)
        for name in (source.header, source.tier_header)
        if name
    ]


def credential_fields(policy: IdentityPolicy) -> list[str]:
    """Names of the header fields in which callers send a token or a key."""
    return [source.header for source in policy.sources if not isinstance(source, TrustedHeader)]


def limiter_of(store: Store, observer: RedisObserver, workers: int) -> Limiter:
    """What decides, with everything behind it.

    Args:
        store: Where buckets live.
        observer: Is told when the store goes and comes.
        workers: Of this gateway.
    """
    return open_limiter(
        None if store.url is None else address_of(store, store.url),
        observer,
        prefix=store.prefix,
        deadline=store.deadline,
        max_buckets=store.max_buckets,
        workers=workers,
    )


def forwarder_of(settings: Settings, observer: RequestObserver, traced: TracingObserver | None) -> Forwarder:
    """What forwards requests; it writes the trace they are in into their heads, if they are in one."""
    keep = settings.keep_rate_limit_headers
    if traced is None:
        return Forwarder(settings.upstreams, observer, keep_rate_limits=keep)
    return TracedForwarder(settings.upstreams, traced, keep_rate_limits=keep)


def address_of(store: Store, url: RedisUrl) -> Address:
    """Where Redis is, and how to get in."""
    login = Login(url.username, url.password)
    if url.socket:
        return Address("socket", path=url.socket, database=url.database, login=login)
    trust = Trust(store.tls.ca, store.tls.certificate, store.tls.key)
    if store.sentinel:
        return Address(
            "sentinel",
            tuple((node.host, node.port) for node in store.sentinel.nodes),
            service=store.sentinel.service,
            database=url.database,
            tls=url.tls,
            login=login,
            sentinel=Login(store.sentinel.username, store.sentinel.password),
            trust=trust,
        )
    hosts = ((url.host, url.port), *((node.host, node.port) for node in store.nodes))
    kind: Kind = "cluster" if store.cluster else "server"
    return Address(kind, hosts, database=url.database, tls=url.tls, login=login, trust=trust)


def shelf_of(settings: Analytics) -> Sink:
    """Where what is counted is kept.

    Raises:
        ShelfAwayError: it takes asyncpg, which is not installed; or certificates, and there are none in the file.
    """
    if settings.postgres is None:
        return FileSink(settings.folder or Path(), settings.keep)
    try:
        from gateway.analytics.postgres import Database, PostgresSink  # noqa: PLC0415 - asyncpg is an extra
    except ModuleNotFoundError as error:
        raise SinkUnavailableError(
            f"analytics.postgres needs {error.name}: install rate-limiting-gateway[postgres]"
        ) from error
    url, tls = settings.postgres.url, None
    if settings.postgres.tls and not url.is_socket:
        try:
            tls = ssl.create_default_context(cafile=settings.postgres.ca)
        except ssl.SSLError as error:
            raise SinkUnavailableError(
                f"analytics.postgres.ca: {settings.postgres.ca} holds no certificates"
            ) from error
    database = Database(url.host, url.port, url.database, url.username, url.password, tls)
    return PostgresSink(database, settings.keep)


@asynccontextmanager
async def open_redis(store: Store) -> AsyncIterator[RedisClient | None]:
    """A way of its own to Redis, for what no request waits for; None with the memory store."""
    if store.url is None:
        yield None
        return
    channel = address_of(store, store.url).open()
    try:
        yield channel
    finally:
        await channel.close()


@asynccontextmanager
async def open_tracer(tracing: Tracing, log: Log) -> AsyncIterator[Tracer]:
    """What makes spans of requests and sends them. It starts a thread."""
    # Not above: they are there with an extra only, which the loader has looked for.
    from gateway.tracing.exporter import OtlpExporter  # noqa: PLC0415
    from gateway.tracing.spans import SpanTracer  # noqa: PLC0415

    fields = {tracing.credential_header: tracing.credential} if tracing.credential else {}
    collector = OtlpExporter(tracing.endpoint, log, tracing.ca, fields)
    try:
        yield SpanTracer(collector.processor, tracing.sample, tracing.service, __version__, str(uuid4()))
    finally:
        await collector.close()
