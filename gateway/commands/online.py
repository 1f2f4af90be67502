"""`check_online`: connects once to everything remote that the settings name, in the way the gateway does."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from gateway.analytics.open import open_sink
from gateway.analytics.sink import SinkUnavailableError, TimeRange
from gateway.config.certificates import Certificates, Name
from gateway.config.key_set import KeySetError, parse_key_set
from gateway.control.key_sets.fetch import fetch_key_set
from gateway.control.key_sets.known import FetchError
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.connector import Connector
from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.resolver import Resolver
from gateway.proxy.upstream_response import ForwardError
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.redis.client import run_script
from gateway.redis.config_check import check_config
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.open import connected
from gateway.redis.scripts import call_take
from gateway.settings.analytics import Analytics
from gateway.settings.gateway import Settings
from gateway.settings.identity import Jwt
from gateway.settings.store import Store
from gateway.settings.token_key import Jwks
from gateway.settings.tracing import Tracing
from gateway.settings.url import Origin

_TIMEOUT = 5.0
"""Seconds for each; all are asked at the same time."""

_BUCKET = Demand(b"check-online", Charge.of("check-online", Quota(Rate(1000, 1), 1)))
"""Full again, and gone from Redis, after a millisecond."""

_REDIS = {
    ("NOAUTH", "WRONGPASS", "invalid username-password", "Authentication"): (
        "check the user in store.url and the password in store.password_file or store.password_env"
    ),
    ("NOPERM", "permissions"): "give the user the ACL rule in docs/operations.md",
    ("READONLY", "read only"): "store.url has to name the primary, not a replica",
    ("OOM",): "give Redis more memory, or set maxmemory-policy volatile-lru",
    ("MasterNotFound", "No master"): "check store.sentinel.service and store.sentinel.nodes",
    ("SSL", "certificate"): "check store.tls, and whether store.url should be rediss:// or redis://",
}
_POSTGRES = {
    ("password", "authentication", "role"): (
        "check the role in analytics.postgres.url, its password, and the server's pg_hba.conf"
    ),
    ("database",): "create the database, or correct analytics.postgres.url",
    ("permission",): "grant the role what docs/operations.md names under Analytics",
    ("SSL", "certificate", "TLS"): "check analytics.postgres.ca, and whether the server has TLS",
}
_UPSTREAM = {
    FailureReason.UNRESOLVED: "check the host's name, and the section dns",
    FailureReason.CERTIFICATE: "check ca and tls.server_name of the upstream, and the server's certificate",
    FailureReason.CLIENT_CERTIFICATE: "check tls.certificate of the upstream: the server wants one that it trusts",
    FailureReason.NO_TLS: "the server has no TLS there: is its URL http://?",
    FailureReason.TLS_ON_HTTP: "the server has TLS there: is its URL https://?",
    FailureReason.UNHEALTHY: "the server is there: look at its log, or correct health.path",
    FailureReason.MALFORMED: "what listens there does not speak HTTP/1.1",
}
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r\n]")
_IS_IT_THERE = "check that it runs, that this address is the right one, and that no firewall is in between"


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of connecting to one remote service.

    Attributes:
        name: What it is.
        address: Where it is; without a password.
        error: Why it cannot be used; empty if it can.
        advice: What to do; of one that can be used, warnings about its settings.
    """

    name: str
    address: str
    error: str = ""
    advice: str = ""

    def __str__(self) -> str:
        result = f"FAILED: {self.error}; {self.advice}" if self.error else "OK"
        return f"{result}, but {self.advice}" if self.advice and not self.error else result


class UnusableError(Exception):
    """A service cannot be used.

    Attributes:
        advice: What to do.
    """

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


async def check_online(settings: Settings, certificates: Certificates, *, has_quotas: bool = False) -> list[Reached]:
    """Connect to Redis, PostgreSQL, all servers of upstreams, issuers and the traces' collector, for 5 seconds at most.

    Args:
        settings: Name what to connect to.
        certificates: With which.
        has_quotas: Whether a limit has a calendar quota, which Redis has to keep for long.
    """
    services = _services(settings, certificates.contexts, has_quotas=has_quotas)
    return await asyncio.gather(*(_reach(*each) for each in services))


def _services(
    settings: Settings, contexts: Mapping[Name, ssl.SSLContext], *, has_quotas: bool
) -> Iterator[tuple[str, str, Awaitable[str]]]:
    """The name and the address of each service, and what connects to it."""
    store, analytics, tracing = settings.store, settings.analytics, settings.tracing
    if store.url is not None:
        yield "redis", str(store), _redis(store, has_quotas=has_quotas)
    if analytics.postgres is not None:
        yield "postgresql", str(analytics), _postgres(analytics)
    loop, silent = asyncio.get_running_loop(), _Silent()
    resolver, coalescer = Resolver(settings.dns, loop, silent), WriteCoalescer(loop)
    for upstream in settings.upstreams.values():
        connector = Connector(upstream, loop, coalescer, silent, resolver, contexts.get(upstream.name))
        for origin in upstream.urls:
            yield f"upstream {upstream.name}", str(origin), _server(connector, origin)
    for jwks in _key_sets(settings):
        yield "issuer", jwks.url or "", _issuer(jwks)
    if tracing is not None:
        yield "traces", tracing.endpoint, _collector(tracing)


async def _reach(name: str, address: str, connecting: Awaitable[str]) -> Reached:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return Reached(name, address, advice=await connecting)
    except TimeoutError:
        return Reached(name, address, f"no response within {_TIMEOUT:g} seconds", _IS_IT_THERE)
    except UnusableError as error:
        return Reached(name, address, " ".join(str(error).split()).rstrip("."), error.advice)


async def _redis(store: Store, *, has_quotas: bool) -> str:
    """Charge a bucket of its own, as a request does: so a replica, and a user who may not, are found out."""
    async with connected(store) as client:
        assert client is not None  # noqa: S101 - the store has a URL
        try:
            await run_script(client, call_take(f"{store.prefix}:bucket:".encode(), [[_BUCKET]], 0))
        except StoreUnavailableError as error:
            raise UnusableError(str(error), _advice(str(error), _REDIS)) from error
        return " ".join(await check_config(client, has_quotas=has_quotas))


async def _postgres(analytics: Analytics) -> str:
    """Read nothing: neither tables nor rows are made."""
    try:
        sink = open_sink(analytics)
        try:
            await sink.read(TimeRange(0, 60))
        finally:
            await sink.close()
    except SinkUnavailableError as error:
        raise UnusableError(str(error), _advice(str(error), _POSTGRES)) from error
    return ""


async def _server(connector: Connector, origin: Origin) -> str:
    """Ask for the upstream's `health.path`; without one, for `OPTIONS *`, to which any response will do."""
    try:
        await connector.probe(origin)
    except ForwardError as error:
        advice = _IS_IT_THERE if error.reason is None else _UPSTREAM.get(error.reason, _IS_IT_THERE)
        raise UnusableError(str(error), advice) from error
    return ""


def _key_sets(settings: Settings) -> list[Jwks]:
    """Those that are fetched, each once."""
    policies = [source.policy for source in settings.identity.sources if isinstance(source, Jwt)]
    policies += [settings.control.admin.tokens] if settings.control.admin else []
    return list(dict.fromkeys(each.jwks for each in policies if each.jwks is not None and each.jwks.url is not None))


async def _issuer(jwks: Jwks) -> str:
    """Fetch the keys. Those that would not be used are named."""
    try:
        return "; ".join(parse_key_set(await fetch_key_set(jwks), jwks.algorithms).refused)
    except FetchError as error:
        raise UnusableError(str(error), "check jwks.url and jwks.ca, and whether the issuer is up") from error
    except KeySetError as error:
        raise UnusableError(f"the key set cannot be used: {error}", "check jwks.url and jwks.algorithms") from error


async def _collector(tracing: Tracing) -> str:
    """Send no spans: the body of an OTLP request without any is empty."""
    try:
        status = await _post_nothing(tracing)
    except ssl.SSLError as error:
        raise UnusableError(str(error), "check tracing.ca and the collector's certificate") from error
    except (OSError, ValueError, EOFError) as error:
        raise UnusableError(str(error) or type(error).__name__, _IS_IT_THERE) from error
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise UnusableError(f"it responded with {status}", "check tracing.credential_file or credential_env")
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise UnusableError(f"it responded with {status}", "check the path of tracing.endpoint, such as /v1/traces")
    return ""


async def _post_nothing(tracing: Tracing) -> int:
    """The status of the response. No thread: one could not be cancelled when a response trickles in.

    Raises:
        ssl.SSLError: the certificate is not trusted, or there is no TLS.
        OSError: the collector cannot be reached.
        ValueError: what it sends is not HTTP.
        EOFError: it sends nothing.
    """
    url = urlsplit(tracing.endpoint)
    tls = ssl.create_default_context(cafile=tracing.ca) if url.scheme == "https" else None
    reader, writer = await asyncio.open_connection(url.hostname, url.port or (443 if tls else 80), ssl=tls)
    try:
        lines = [
            f"POST {url.path or '/'} HTTP/1.1",
            f"Host: {url.netloc}",
            "Content-Type: application/x-protobuf",
            "Content-Length: 0",
            "Connection: close",
        ]
        if tracing.credential is not None:
            lines.append(f"{tracing.credential_header}: {tracing.credential}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        form = _STATUS_LINE.match(await reader.readuntil(b"\n"))
        if form is None:
            raise ValueError("what listens there does not speak HTTP/1.1")
        return int(form[1])
    finally:
        writer.transport.abort()


def _advice(error: str, known: Mapping[tuple[str, ...], str]) -> str:
    return next((advice for words, advice in known.items() if any(word in error for word in words)), _IS_IT_THERE)


class _Silent:
    """A `RequestObserver` that tells nobody: the error that is raised says it all."""

    def _ignore(self, *_: object, **__: object) -> None:
        """Of no interest."""

    decided = bypassed = upstream_took = upstream_unreachable = upstream_failed = _ignore
    server_left_out = server_back = name_unresolved = rejected = identity_rejected = claims_unusable = _ignore
    measured = served = failed = _ignore
