"""A gateway's worker in this process, as the composition root makes it, on ports of its own."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trustme

from gateway.app import Worker
from gateway.config.loader import Loaded
from gateway.limits.address import LOOPBACK
from gateway.limits.charge import FailurePolicy
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity_source import TrustedHeader
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.process.sockets import bind
from gateway.settings.answers import Answers
from gateway.settings.control import Control
from gateway.settings.gateway import CONTROL, PUBLIC, Settings
from gateway.settings.identity import IdentityPolicy
from gateway.settings.listener import Listener, Tls
from gateway.settings.store import Store
from gateway.settings.url import Origin, RedisUrl
from gateway.telemetry.shared_memory import SharedCounters
from tests.auth.keys import policy, token
from tests.waiting import PATIENT
from tests.wire import Message, ask

ENDPOINTS = (
    Endpoint("order", Template.parse("/v1/orders/{id}"), frozenset({"GET"})),
    Endpoint("create", Template.parse("/v1/orders"), frozenset({"POST"}), cost=5),
)
DAY = 86_400


def limit(name: str, burst: int, tokens: int = 1, seconds: int = DAY, **more: Any) -> Limit:
    """A limit that hardly refills while a test runs, unless it says so."""
    more = {"per": ("user",), **more}
    if "outage" in more:
        more["when_redis_is_down"] = FailurePolicy(more.pop("outage"))
    return Limit(name, quota=Quota(Rate(tokens, seconds), burst), **more)


@dataclass
class Answer:
    """What the control plane said."""

    status: int
    type: str
    body: Any
    message: Message


@dataclass
class Running:
    """A worker's two ports."""

    public: int
    control: int
    doors: Mapping[str, int] = field(default_factory=dict, kw_only=True)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, fields: Iterable[str] = ()
    ) -> Answer:
        """One request to the control plane. A body that is not bytes is sent as JSON."""
        return read(await ask(self.control, request(method, path, body, token=token, fields=fields)))

    async def check(self, user: str, endpoint: str, weight: int = 1) -> Any:
        """The decision on a question that is put well."""
        question = {"user_id": user, "endpoint": endpoint, "weight": weight}
        answer = await self.call("POST", "/api/v1/check-limit", question, token=CHECK)
        assert answer.status == 200, answer
        return answer.body


CHECK = token("check")


def tls_listener(folder: Path) -> tuple[Listener, ssl.SSLContext]:
    """A listener with TLS, whose certificate is in a folder, and what trusts it."""
    authority = trustme.CA()
    issued, context = authority.issue_cert("127.0.0.1"), ssl.create_default_context()
    authority.configure_trust(context)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return Listener(port=0, tls=Tls(certificate, key)), context


def request(method: str, path: str, body: Any = None, *, token: str | None = None, fields: Iterable[str] = ()) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
        if not any(line.lower().startswith("content-type") for line in lines):
            lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def read(message: Message) -> Answer:
    kind = message.one(b"Content-Type").decode().partition(";")[0] if message.all(b"Content-Type") else ""
    body = json.loads(message.body) if "json" in kind else message.body
    return Answer(message.status, kind, body, message)


def settings(
    upstream: int = 9, *, store: str | None = None, control: Mapping[str, Any] | None = None, **more: Any
) -> Settings:
    plain = Settings.of_one(Origin("http", "127.0.0.1", upstream))
    plane = Control(**{"listen": (Listener(port=0),), "admin": policy(), **(control or {})})
    where = Store(RedisUrl.parse(store), deadline=PATIENT) if store else Store()
    identity = IdentityPolicy((TrustedHeader("X-User-Id", "X-User-Tier"),), LOOPBACK, hash_key=b"0123456789abcdef")
    # Without an id, responses are the same bytes each time.
    answers = Answers(request_id=False)
    made = replace(plain, listen=(Listener(port=0),), control=plane, store=where, identity=identity, answers=answers)
    return replace(made, drain_time=1.0, **more)


@asynccontextmanager
async def worker(made: Settings, rules: Rules) -> AsyncIterator[Running]:
    """Run a worker while the block runs."""
    bound = {plane: {each: bind(each) for each in listeners} for plane, listeners in made.listeners.items()}
    stop = asyncio.Event()
    running = asyncio.create_task(Worker(Loaded(made, rules), bound, [SharedCounters()]).run(stop))
    port_of = {plane: next(iter(each.values()))[0].getsockname()[1] for plane, each in bound.items()}
    ports = Running(port_of[PUBLIC], port_of[CONTROL], doors=port_of)
    try:
        yield ports
    finally:
        stop.set()
        await running


@asynccontextmanager
async def gateway(
    *limits: Limit, upstream: int = 9, endpoints: Iterable[Endpoint] = ENDPOINTS, **more: Any
) -> AsyncIterator[Running]:
    """Run a worker with these limits in front of the upstream at a port."""
    async with worker(settings(upstream, **more), Rules(endpoints, limits, revision="cafe00000001")) as running:
        yield running
