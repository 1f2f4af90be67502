"""`ControlPlane`: the composition of the control plane, and the lifetime of its parts."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from socket import gethostname, socket
from ssl import SSLContext
from typing import Protocol

from aiohttp import web

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.cors import Cors
from gateway.auth.grant import Actor, Scope
from gateway.auth.guard import Guard, RefusedAttempt
from gateway.auth.key_ring import KeyRings
from gateway.auth.timestamps import timestamp
from gateway.config.key_material import KeyMaterialBook
from gateway.config.keys import ADMIN
from gateway.config.reloaded import reloaded_digest
from gateway.control.audit.api import AuditApi
from gateway.control.audit.log_file import open_audit_log
from gateway.control.audit.writer import AuditWriter, Head
from gateway.control.bypass import Bypass
from gateway.control.check_limit import CheckLimit
from gateway.control.explain import Explain, ExplainApi
from gateway.control.http.cors import CorsHeaders
from gateway.control.http.deadlines import Deadlines
from gateway.control.http.direct import DirectConnections
from gateway.control.http.hosts import Hosts
from gateway.control.http.problem import Problems
from gateway.control.http.request import BODY_TIMEOUT, MAX_BODY
from gateway.control.http.service_api import ServiceApi
from gateway.control.http.site import SocketSite
from gateway.control.key_sets.copy import KeySetCopy
from gateway.control.key_sets.fetch import fetch_key_set
from gateway.control.key_sets.sync import KeySetSync
from gateway.control.openapi import OpenApi
from gateway.control.overrides.api import OverridesApi
from gateway.control.overrides.file import FileOverrideStore, OverrideFile
from gateway.control.overrides.plan_api import PlanApi
from gateway.control.overrides.store import OverrideStore, RedisOverrideStore
from gateway.control.overrides.sync import OverrideSync
from gateway.control.reload.acceptance import Acceptance, RunRuleTests
from gateway.control.reload.api import ReloadApi, carry_out_for_fleet
from gateway.control.reload.confirmation import Confirmation
from gateway.control.reload.file_watch import FileWatch
from gateway.control.reload.fleet import Fleet
from gateway.control.reload.reloader import Reloader
from gateway.control.reload.revisions import Revisions
from gateway.control.reload.revisions_api import RevisionsApi
from gateway.control.reload.snapshot import Snapshots
from gateway.control.reload.switch import Switch
from gateway.control.reload.worker_channel import Workers
from gateway.control.reservations.settle import Settle
from gateway.control.reservations.store import MemoryReservations, RedisReservations
from gateway.control.tiers import SeenTiers
from gateway.control.timetable import Timetable
from gateway.control.usage import UsageApi
from gateway.limiter.limiter import Limiter
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook
from gateway.redis.client import RedisClient
from gateway.redis.poller import Poller
from gateway.settings.control import Control
from gateway.settings.gateway import Settings
from gateway.settings.listener import BACKLOG
from gateway.telemetry import definitions
from gateway.telemetry.events import Events
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

_SHUTDOWN_TIMEOUT = 0.5
"""Seconds that requests in flight may take when the control plane stops; and again when they are cancelled."""


class Api(Protocol):
    """A part of the control plane's HTTP API."""

    def routes(self) -> list[web.RouteDef]:
        """What it serves."""


class ControlPlane:
    """What one worker serves to operators and services.

    Args:
        settings: All of them.
        workers: The workers of this gateway, as this one sees them.
        since: When the gateway started, in ISO 8601.
        book: The rules in force.
        material: The certificates and keys in force.
        identity: Makes a caller of a user id.
        rings: The keys of tokens.
        limiter: Decides.
        redis: A client of its own; None with the memory store.
        poller: Polls Redis while the control plane serves.
        events: Reports decisions.
        metrics: Of this worker.
        log: Of this process.
        status: Serves health and metrics.
        explain: Explains requests.
        run_tests: Runs the tests of new rules.
        revisions: The rules that were accepted so far.

    Attributes:
        bypass: Decides which requests bypass the limits.
        reloader: Reloads the rules.
        tiers: Is to be told of callers, to know their tiers.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        since: str,
        book: RuleBook,
        material: KeyMaterialBook,
        identity: Identity,
        rings: KeyRings,
        limiter: Limiter,
        redis: RedisClient | None,
        poller: Poller,
        events: Events,
        metrics: Metrics,
        log: Log,
        status: Api,
        explain: Explain,
        run_tests: RunRuleTests,
        revisions: Revisions,
    ) -> None:
        control, prefix = settings.control, settings.store.prefix
        self._log = log
        self._intake = settings.intake
        self._cors = Cors(settings.cors_origins)
        bound = [each.host for each in control.listen if each.unix is None]
        self._hosts = Hosts([*bound, *control.hosts], self._cors)
        head = Head(redis, prefix) if redis is not None else None
        self._audit = AuditWriter(open_audit_log(control), head, lambda: book.current.revision, log, metrics.audited)
        verifier = AdminVerifier(control.admin, rings.of(ADMIN, control.admin.tokens)) if control.admin else None
        count = metrics.identity_rejected
        guard = Guard(verifier, "admin_token", count, self._report_refusal)
        # A guard of its own: somebody who guesses tokens on the public port does not slow down operators.
        self.bypass = Bypass(Guard(verifier, "bypass_token", count, self._report_refusal), self._audit)

        store, copy = _override_store(control, prefix, redis), _override_copy(control, redis)
        self._overrides = OverrideSync(store, copy, book, limiter, self._audit, log)
        metrics.watch(definitions.OVERRIDES, lambda: len(self._overrides.known.texts))
        snapshots = Snapshots(settings, workers.folder, timestamp)
        self._switch = Switch(snapshots, workers, book, material, limiter, metrics, log, since)
        acceptance = Acceptance(
            self._switch, snapshots, revisions, run_tests, workers, book, material, self._audit, metrics, log
        )
        self.reloader = Reloader(
            acceptance, self._switch, snapshots, revisions, workers, book, material, self._audit, log
        )
        self._watch = None
        if settings.watch is not None:
            self._watch = FileWatch(
                settings.watch, workers.folder, partial(reloaded_digest, settings), self.reloader.differs,
                self.reloader.reload_on_change, log,
            )  # fmt: skip
        self._confirmation = Confirmation(revisions, self.reloader.return_if_unconfirmed, log)
        metrics.watch(definitions.RULES_PINNED, lambda: revisions.in_force.pin is not None)
        metrics.watch(definitions.RULES_UNCONFIRMED, lambda: revisions.in_force.pending is not None)
        fleet = Fleet(redis, prefix, _gateway_name(workers.folder), carry_out_for_fleet(self.reloader), log)
        self.tiers = SeenTiers(workers)
        self._poller = poller
        Timetable(book, limiter, metrics).follow(poller)
        folder = control.state or workers.folder
        self._key_sets = [
            KeySetSync(jwks, ring, KeySetCopy(jwks, folder), fetch_key_set, log, metrics)
            for jwks, ring in rings.published()
        ]
        for key_set in self._key_sets:
            poller.subscribe(lambda: None, key_set.hear)
        if store is not None:
            poller.subscribe(lambda: store.poll, self._overrides.hear)
        if redis is not None:
            poller.subscribe(lambda: fleet.poll, fleet.hear)
        reservations = RedisReservations(redis, prefix) if redis is not None else MemoryReservations(limiter.clock)
        self._services = (
            CheckLimit(guard, control.check_from, book, identity, limiter, reservations, events),
            Settle(guard, control.check_from, reservations, limiter, metrics.measured),
        )
        self._apis: tuple[Api, ...] = (
            status,
            OpenApi(),
            *(ServiceApi(service) for service in self._services),
            OverridesApi(guard, self._overrides, book, identity),
            PlanApi(guard, self._overrides, book, identity),
            ExplainApi(guard, book, explain, identity, limiter, self.tiers),
            UsageApi(guard, self._overrides, book, identity, limiter, self._audit, self.tiers),
            ReloadApi(guard, book, self._switch, revisions, self.reloader, fleet, settings.analytics),
            RevisionsApi(guard, revisions, self.reloader, fleet),
            AuditApi(guard, self._audit),
        )

    def stop_watching(self) -> None:
        """Leave it to other workers to reload when files change."""
        if self._watch is not None:
            self._watch.stop()

    async def _report_refusal(self, refusal: RefusedAttempt) -> None:
        """Log and record a refused attempt, with the true reason."""
        (method, route, source, scope), grant = refusal.attempt, refusal.grant
        self._log.event(
            "token_refused",
            level="warning",
            reason=refusal.reason,
            method=method,
            route=route,
            source=source,
            subject=grant.subject if grant else None,
        )
        if scope is not Scope.CHECK:  # whoever asks for a decision does not try to change anything
            await self._audit.record_refusal(Actor.of(grant, source), f"{method} {route}", refusal.reason)

    @asynccontextmanager
    async def serve(self, sockets: Iterable[tuple[socket, SSLContext | None]]) -> AsyncIterator[list[SocketSite]]:
        """Serve on sockets, each with TLS or without, while the block runs.

        Yields the listening sites, which can be stopped early.
        """
        deadlines, problems, cors = Deadlines(self._intake), Problems(self._log), CorsHeaders(self._cors)
        direct = DirectConnections(self._services, self._hosts, problems, cors.lines, self._intake)
        middlewares = [
            deadlines.middleware,
            cors.middleware,
            problems.middleware,
            self._hosts.middleware,
        ]
        app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
        app[BODY_TIMEOUT] = self._intake.body_timeout
        for api in self._apis:
            app.add_routes(api.routes())
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._audit.close)
            await stack.enter_async_context(self._switch.following())
            await stack.enter_async_context(self._confirmation.watching())
            await asyncio.gather(self._overrides.start(), *(each.start() for each in self._key_sets))
            await stack.enter_async_context(self._poller.polling())
            if self._watch is not None:
                await stack.enter_async_context(self._watch.watching())
            runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_TIMEOUT)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.push_async_callback(direct.close, _SHUTDOWN_TIMEOUT)
            sites = [SocketSite(runner, listening, tls, BACKLOG, deadlines, direct) for listening, tls in sockets]
            for site in sites:
                await site.start()
            yield sites


def _gateway_name(folder: Path) -> str:
    """The machine's name, and what tells apart the gateways on one machine: the random end of the folder's name."""
    return f"{gethostname()}/{folder.name.rpartition('-')[2]}"


def _override_store(control: Control, prefix: str, redis: RedisClient | None) -> OverrideStore | None:
    if redis is not None:
        return RedisOverrideStore(redis, prefix)
    return FileOverrideStore(OverrideFile(control.state / "overrides.json")) if control.state else None


def _override_copy(control: Control, redis: RedisClient | None) -> OverrideFile | None:
    return OverrideFile(control.state / "overrides-known.json") if control.state and redis is not None else None
