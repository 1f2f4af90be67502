"""A proxy on a port of its own, in this process: the data plane as the composition root puts it together."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from ssl import SSLContext

from gateway.limiter.limiter import Limiter
from gateway.limiter.memory import MemoryLimiter
from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.address import Network, Unix
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.claimed_rate import UnusableClaim
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import Identity
from gateway.limits.identity_source import ApiKey, BearerToken, TrustedHeader
from gateway.limits.limit import Limit
from gateway.limits.measured_cost import Measurement
from gateway.limits.rejection import Rejection
from gateway.limits.rules import RuleBook, Rules
from gateway.process.sockets import bind
from gateway.proxy.acceptor import Acceptor, listen
from gateway.proxy.allowed import Destination
from gateway.proxy.door import door_server
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Proxy
from gateway.proxy.handshake_pace import HandshakePace
from gateway.proxy.preamble import ServingContext
from gateway.proxy.refusal import Refusal
from gateway.proxy.request import RequestReader
from gateway.proxy.request_id import RequestIds
from gateway.proxy.server import Server
from gateway.proxy.via import Via
from gateway.redis.clock import StoreClock
from gateway.settings.answers import Answers
from gateway.settings.dns import Dns
from gateway.settings.door import Doors, RateLimit
from gateway.settings.gateway import Settings
from gateway.settings.identity import IdentityPolicy
from gateway.settings.intake import Intake
from gateway.settings.listener import Listener
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin
from gateway.telemetry.access_record import AccessRecord
from tests.kit.identity import make_identity


class Seen:
    """Notes what the proxy says it did."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.reasons: list[str] = []
        self.fates: list[tuple[str, Outcome, int]] = []
        self.refused_by: list[tuple[str, list[str]]] = []
        self.causes: list[str] = []
        self.unreachable: list[str] = []
        self.upstream_failures: list[tuple[str, str, str]] = []
        self.left_out: list[tuple[str, str]] = []
        self.back: list[str] = []
        self.unresolved: list[tuple[str, str]] = []
        self.demands: list[list[Demand]] = []
        self.bypasses: list[list[str]] = []
        self.ids: list[str] = []
        self.failures: list[tuple[int, Exception]] = []
        self.loops: list[str] = []
        self.dropped: list[str] = []
        self.rejections: list[tuple[str, str]] = []
        self.claims: list[UnusableClaim] = []
        self.measurements: list[Measurement] = []

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:
        assert endpoint
        assert caller.digest
        assert demands
        self.demands.append(list(demands))
        self.verdicts.append(verdict)

    def bypassed(self, endpoint: str, limits: Iterable[str]) -> None:
        assert endpoint
        self.bypasses.append(list(limits))

    def upstream_took(self, upstream: str, seconds: float) -> None:
        assert upstream == "default"
        assert seconds > 0

    def upstream_unreachable(self, upstream: str, reason: str, why: str) -> None:
        assert upstream == "default"
        self.unreachable.append(why)
        self.upstream_failures.append(("", reason, why))

    def upstream_failed(self, upstream: str, address: str, reason: str, why: str) -> None:
        assert upstream == "default"
        self.upstream_failures.append((address, reason, why))

    def server_left_out(self, upstream: str, address: str, reason: str, why: str) -> None:
        assert upstream == "default"
        self.left_out.append((address, reason))
        self.unreachable.append(why)

    def server_back(self, upstream: str, address: str, seconds: float) -> None:
        assert upstream == "default"
        assert seconds > 0
        self.back.append(address)

    def name_unresolved(self, name: str, why: str) -> None:
        self.unresolved.append((name, why))

    def rejected(self, cause: str) -> None:
        self.causes.append(cause)

    def identity_rejected(self, rejection: Rejection) -> None:
        self.rejections.append((rejection.source, rejection.reason))

    def measured(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict, measured: Measurement
    ) -> None:
        assert endpoint
        assert caller.digest
        assert demands
        assert verdict.allowed
        self.measurements.append(measured)

    def claims_unusable(self, claims: Iterable[UnusableClaim]) -> None:
        self.claims += claims

    def served(self, record: AccessRecord) -> None:
        assert record.request_id
        assert bool(record.over and record.over.refusing) is (record.outcome is Outcome.REFUSED)
        if record.over is not None and record.over.refusing:
            self.refused_by.append((record.source, record.over.refusing))
        if record.reason:
            self.reasons.append(record.reason)
        if not record.method:
            return  # the head could not be read
        assert record.seconds > 0
        assert bool(record.caller) is bool(record.endpoint)
        self.ids.append(record.request_id)
        self.fates.append((record.endpoint, record.outcome, record.status))

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        self.ids.append(request_id)
        self.failures.append((status, error))


@dataclass
class Running:
    port: int
    address: Path
    server: Server
    book: RuleBook
    seen: Seen
    listening: Acceptor
    doors: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def proxy(
    *ports: int,
    limits: Iterable[Limit] = (),
    endpoints: Iterable[Endpoint] = (),
    identity: Identity | None = None,
    keep_rate_limits: bool = False,
    intake: Intake | None = None,
    limiter: Limiter | None = None,
    ssl: SSLContext | ServingContext | None = None,
    host: str = "127.0.0.1",
    scheme: str = "http",
    dns: Dns | None = None,
    proxy_headers: Sequence[str] = (),
    via: str | None = None,
    answers: Answers | None = None,
    proxies: Sequence[Network | Unix] = (),
    unix: Path | None = None,
    doors: Doors = Doors(),
    **upstream: object,
) -> AsyncIterator[Running]:
    """Run a proxy in front of the upstream that listens on `ports`.

    Unless told otherwise, responses have no X-Request-ID, so that they are the same bytes each time.
    """
    origins = tuple(Origin(scheme, "127.0.0.1", port) for port in ports)  # type: ignore[arg-type]
    if "send_host" in upstream:  # the setting is called host, as our own parameter is
        upstream["host"] = upstream.pop("send_host")
    settings = replace(Upstream("default", origins), **upstream)  # type: ignore[arg-type]
    book = RuleBook(Rules(endpoints, limits))
    observer = Seen()
    limiter = limiter or MemoryLimiter(100_000, StoreClock())
    forwarder = Forwarder({"default": settings}, observer, dns or Dns(), keep_rate_limits=keep_rate_limits)
    identity = identity or make_identity()
    credentials = [source.header for source in identity.sources if isinstance(source, BearerToken | ApiKey)]
    reader = RequestReader(
        ["X-User-Id", "X-User-Tier"],
        credentials,
        proxy_headers,
        None if via is None else Via(via),
        observer.loops.append,
        observer.dropped.append,
    )
    answers = answers or Answers(request_id=False)

    def proxy_to(destination: Destination, reader: RequestReader) -> Proxy:
        return Proxy(book, identity, limiter, destination, reader, observer, Refusal(answers))

    handler = proxy_to(forwarder, reader)
    ids = RequestIds(shown=answers.request_id)
    server = Server(handler.handle, intake or Intake(), observer, identity.trusts, ids)
    (bound,) = bind(Listener(host, 0, unix=None if unix is None else str(unix)))
    port = 0 if unix else bound.getsockname()[1]
    serving = (lambda: ssl) if isinstance(ssl, SSLContext) else ssl
    pace = HandshakePace((intake or Intake()).max_handshakes)
    listening = listen(server, bound, intake or Intake(), observer, 1024, pace, tls=serving, proxies=proxies)
    running = Running(port, unix or Path(), server, book, observer, listening)
    who = IdentityPolicy((TrustedHeader("X-User-Id", "X-User-Tier"),))
    made = Settings({}, intake=intake or Intake(), identity=who)
    opened = [(server, listening)]
    for name, door in doors.by_name.items():
        assert not isinstance(door, RateLimit)
        door_at = door_server(door, made, proxy_to, lambda handle: handle, observer, ids)
        (bound,) = bind(door.listen[0])
        running.doors[name] = bound.getsockname()[1]
        opened.append((door_at, listen(door_at, bound, made.intake, observer, 1024, pace)))
    try:
        yield running
    finally:
        for served, acceptor in opened:
            acceptor.close()
            await served.shutdown(0.1)
        forwarder.close()
