"""The composition of the control plane: what it is made of, and how long each part lives."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from ssl import SSLContext
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from aiohttp import web

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.cors import Cors
from gateway.auth.grant import Scope
from gateway.control.audit.api import AuditApi
from gateway.control.audit.log import AuditLog
from gateway.control.audit.writer import Actor, AuditWriter, Head
from gateway.control.bypass import Bypass
from gateway.control.check_limit import CheckLimitApi
from gateway.control.guard import Guard, Refusal
from gateway.control.http.cors import CorsHeaders
from gateway.control.http.json_body import LARGEST_BODY
from gateway.control.http.problem import Problems
from gateway.control.openapi import OpenApi
from gateway.control.overrides.api import OverridesApi
from gateway.control.overrides.file import OverrideFile
from gateway.control.overrides.store import FileOverrideStore, OverrideStore, RedisOverrideStore
from gateway.control.overrides.sync import OverrideSync
from gateway.control.reload.api import ReloadApi
from gateway.control.reload.fleet import Fleet
from gateway.control.reload.reloader import Reloader, Told
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.workers import Workers
from gateway.control.timestamps import timestamp
from gateway.control.usage import UsageApi
from gateway.limiter.limiter import Limiter
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook, Rules
from gateway.redis.client import RedisClient
from gateway.settings.control import Control
from gateway.settings.gateway import Settings
from gateway.settings.listener import BACKLOG
from gateway.telemetry import definitions
from gateway.telemetry.events import Events
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Cause, Metrics

_LAST_WAIT = 0.5
"""Seconds that a request on the control port is waited for at the end; as long again when it is broken off."""


class Part(Protocol):
    """Something that the control plane serves."""

    def add_to(self, app: web.Application) -> None:
        """Serve its paths."""


class Runtime(NamedTuple):
    """What all workers of a gateway share while it runs.

    Attributes:
        folder: Nobody else may enter it. Its name is the gateway's, too.
        since: When the gateway started, in ISO 8601.
    """

    folder: Path
    since: str


class WorkerContext(NamedTuple):
    """Which worker this is, of how many, and where they meet.

    Attributes:
        runtime: Where they meet.
        number: Which this is.
        workers: How many there are.
        turn: 0 or 1: in which of its two tallies it counts.
        cause: Why it was started.
    """

    runtime: Runtime
    number: int = 0
    workers: int = 1
    turn: int = 0
    cause: Cause = "start"


class RuntimeFolderError(Exception):
    """There is nowhere to put what the workers of a gateway share."""


@contextmanager
def open_runtime() -> Iterator[Runtime]:
    """Make a gateway's folder, and remove it at the end.

    Raises:
        NoFolderError: there is no place for it.
    """
    with ExitStack() as stack:
        try:
            made = TemporaryDirectory(prefix="gateway-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
            with socket(AF_UNIX) as tried:  # the path may be too long for one, or the file system have none
                tried.bind(str(folder / "00000.sock"))
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, held)
            # By this systemd-tmpfiles knows that what is in it is in use, however old.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RuntimeFolderError(
                f"no folder for the sockets on which workers meet: {error.strerror or error}; "
                "mount a tmpfs at /tmp, or set TMPDIR to a short path"
            ) from error
        yield Runtime(folder, timestamp())


def ledger_of(control: Control) -> AuditLog | None:
    """The audit log; None when there is no folder for it."""
    return AuditLog(control.state / "audit.jsonl", control.audit_size) if control.state else None


def _register_of(settings: Settings, redis: RedisClient | None) -> OverrideStore | None:
    if redis is not None:
        return RedisOverrideStore(redis, settings.store.prefix)
    return (
        FileOverrideStore(OverrideFile(settings.control.state / "overrides.json")) if settings.control.state else None
    )


def _copy_of(control: Control, redis: RedisClient | None) -> OverrideFile | None:
    return OverrideFile(control.state / "overrides-known.json") if control.state and redis is not None else None


class ControlPlane:
    """What one worker serves to operators and services.

    Args:
        settings: All of them.
        place: Which worker this is.
        book: The rules in force.
        identity: Makes a caller of a user id.
        limiter: Decides.
        redis: Runs commands; None with the memory store.
        journal: Is told of decisions.
        metrics: Of this worker.
        log: Of this process.
        parts: What else is served.

    Attributes:
        bypass: Who passes the proxy without being limited.
        reloader: Reloads the rules.
    """

    def __init__(
        self,
        settings: Settings,
        place: WorkerContext,
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        redis: RedisClient | None,
        journal: Events,
        metrics: Metrics,
        log: Log,
        parts: Iterable[Part],
    ) -> None:
        control, prefix, (runtime, number, workers, *_) = settings.control, settings.store.prefix, place
        self._log = log
        head = Head(redis, prefix) if redis else None
        self._audit = AuditWriter(ledger_of(control), head, lambda: book.current.revision, log, metrics.audited)
        warden = AdminVerifier(control.admin) if control.admin else None
        guard = Guard(warden, self._refused)
        # With a guard of its own: who guesses on the public port does not slow down whoever mistypes here.
        self.bypass = Bypass(Guard(warden, self._refused), self._audit)
        self._cors = Cors(settings.cors_origins)

        def in_force(rules: Rules) -> None:
            metrics.rules(rules.revision, rules.endpoints, [limit.name for limit in rules.limits])

        self._overrides = OverrideSync(
            _register_of(settings, redis), _copy_of(control, redis), book, limiter, self._audit, log
        )
        metrics.watch(definitions.OVERRIDES, lambda: len(self._overrides.records))
        self.reloader = Reloader(
            Snapshots(settings, runtime.folder, timestamp),
            Workers(runtime.folder, number, workers),
            book,
            limiter,
            self._audit,
            log,
            Told(metrics.reloaded, in_force),
            runtime.since,
        )
        self._muster = Fleet(redis, prefix, runtime.folder.name, self.reloader, log)
        self._parts: list[Part] = [
            *parts,
            OpenApi(),
            CheckLimitApi(guard, control.check_from, book, identity, limiter, journal.decided),
            OverridesApi(guard, self._overrides, book, identity),
            UsageApi(guard, self._overrides, book, identity, limiter, self._audit),
            ReloadApi(guard, book, self.reloader, self._muster),
            AuditApi(guard, self._audit),
        ]

    async def _refused(self, refusal: Refusal) -> None:
        """Note an attempt that was refused, with the true reason."""
        subject = refusal.grant.subject if refusal.grant else None
        self._log.event(
            "token_refused",
            level="warning",
            reason=refusal.reason,
            method=refusal.attempt.method,
            route=refusal.attempt.route,
            source=refusal.attempt.source,
            subject=subject,
        )
        if refusal.scope is not Scope.CHECK:  # who asks for a decision does not try to change anything
            actor = Actor.of(refusal.grant, refusal.attempt.source)
            await self._audit.attempt(actor, f"{refusal.attempt.method} {refusal.attempt.route}", refusal.reason)

    @asynccontextmanager
    async def serve(self, sockets: Iterable[socket], tls: SSLContext | None) -> AsyncIterator[list[web.SockSite]]:
        """Serve on sockets while the block runs. Yields what can be told to take no more connections."""
        app = web.Application(
            middlewares=[CorsHeaders(self._cors).middleware, Problems(self._log).middleware],
            client_max_size=LARGEST_BODY,
        )
        for part in self._parts:
            part.add_to(app)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._audit.close)
            for lasting in (self.reloader.ready(), self._overrides.kept_up(), self._muster.attending()):
                await stack.enter_async_context(lasting)
            runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=_LAST_WAIT)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            sites = [web.SockSite(runner, listening, ssl_context=tls, backlog=BACKLOG) for listening in sockets]
            for site in sites:
                await site.start()
            yield sites
