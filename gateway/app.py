"""`Worker`: the composition root. What one worker is made of, and how long each part lives."""

import asyncio
import gc
import logging
import platform
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from socket import socket
from ssl import SSLContext
from typing import TYPE_CHECKING

from gateway.analytics.open import open_sink
from gateway.analytics.recorder import Recorder
from gateway.analytics.rollup import Rollup
from gateway.auth.cors import Cors
from gateway.auth.identity import build_identity
from gateway.auth.key_ring import KeyRings
from gateway.build import VERSION
from gateway.config.certificates import Certificates
from gateway.config.key_material import KeyMaterial, KeyMaterialBook, load_key_material
from gateway.config.loader import Loaded
from gateway.control.app import ControlPlane
from gateway.control.http.site import SocketSite
from gateway.control.reload.revisions import Revisions
from gateway.control.reload.worker_channel import Workers
from gateway.control.status import StatusApi
from gateway.limiter.limiter import Limiter, open_limiter
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook
from gateway.process.runtime import WorkerContext, open_runtime
from gateway.process.sockets import Bound
from gateway.proxy.acceptor import Acceptor, accept, listen
from gateway.proxy.allowed import Destination
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.door import Around
from gateway.proxy.explainer import Explainer
from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Proxy
from gateway.proxy.handshake_pace import HandshakePace
from gateway.proxy.observer import RequestObserver
from gateway.proxy.refusal import Refusal
from gateway.proxy.request import RequestReader
from gateway.proxy.server import Server
from gateway.proxy.servers import open_servers
from gateway.rate_limit_service.open import open_rate_limit
from gateway.redis.open import connected
from gateway.redis.poller import Poller
from gateway.rule_tests.reload import rule_tests_of
from gateway.settings.door import RateLimit
from gateway.settings.gateway import CONTROL
from gateway.settings.listener import BACKLOG
from gateway.telemetry import definitions
from gateway.telemetry.events import Events
from gateway.telemetry.log import Log, open_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.shared_memory import SharedCounters
from gateway.telemetry.stdlib_handler import StdlibHandler
from gateway.tracing.traced import TracedForwarder, TracingObserver, open_tracer

if TYPE_CHECKING:  # hpack and protobuf are an extra
    from gateway.rate_limit_service.server import GrpcServer


def tune_garbage_collector() -> None:
    """Exempt what a worker is made of from garbage collection, and collect less often.

    Requests create almost no cycles; by default the collector would run every few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Worker:
    """One process of the gateway: the data plane on its public sockets, the control plane on others.

    Args:
        loaded: Settings and rules.
        bound: Where to listen, by what the listeners are for.
        counters: The counters of all workers of this gateway: the first set of each, then the second.
        context: Which worker this is, and what it shares with the others; None for a gateway in one process.
        material: The certificates and keys in the files that the settings name; None to read them.
    """

    def __init__(
        self,
        loaded: Loaded,
        bound: Mapping[str, Bound],
        counters: Sequence[SharedCounters],
        context: WorkerContext | None = None,
        material: KeyMaterial | None = None,
    ) -> None:
        self._settings = loaded.settings
        self._bound = bound
        self._counters = counters
        self._context = context
        self._book = RuleBook(loaded.rules)
        self._material = KeyMaterialBook(loaded.settings, material or load_key_material(loaded.settings))
        self._certificates = self._material.certificates
        self._reload: Callable[[], Coroutine[None, None, bool]] | None = None
        self._reloading: asyncio.Task[bool] | None = None
        self._retired = False
        self._drain_delay = 0.0

    def reload(self, done: Callable[[bool], None] = lambda _: None) -> None:
        """Reload the rules in all workers; does nothing before this worker serves.

        Args:
            done: Called when the rules were applied, or the reason why not has been logged, with whether they were.
        """
        if self._reload is None:
            done(False)
            return
        self._reloading = asyncio.get_running_loop().create_task(self._reload())
        self._reloading.add_done_callback(lambda task: done(not task.cancelled() and task.result()))

    def stop(self, stop: asyncio.Event) -> None:
        """Stop, and accept connections for `drain_delay` all the same: a load balancer may not know yet."""
        self._drain_delay = self._settings.drain_delay
        stop.set()

    def retire(self, stop: asyncio.Event) -> None:
        """Stop: a successor listens on the same sockets, so connections waiting there are not lost."""
        self._retired = True
        stop.set()

    async def run(self, stop: asyncio.Event, serving: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set, then let requests in flight finish.

        Args:
            stop: Ends it.
            serving: Called once the worker accepts connections.
        """
        settings, book = self._settings, self._book
        async with AsyncExitStack() as stack:
            context = self._context or WorkerContext(stack.enter_context(open_runtime()))
            log = self._open_log(stack, context)
            metrics = self._open_metrics(stack, log, context)
            events = self._open_events(stack, log, metrics)

            checks = await stack.enter_async_context(connected(settings.store))
            poller = Poller(checks)
            limiter = open_limiter(
                settings.store,
                checks,
                poller,
                events,
                workers=context.workers,
                has_quotas=lambda: book.current.has_quotas,
            )
            await limiter.start()
            stack.push_async_callback(limiter.close)

            tracing = None
            if settings.tracing is not None:
                tracing = TracingObserver(events, await stack.enter_async_context(open_tracer(settings.tracing, log)))
            observer: RequestObserver = tracing or events
            forwarder = self._forwarder(observer)
            stack.callback(forwarder.close)
            destination = self._destination(forwarder, tracing)

            rings = KeyRings(self._material.current.keys)
            self._material.follow_keys = rings.use
            asking = settings.doors.rate_limit
            told = asking.attributes if asking else ()
            identity = build_identity(
                settings.identity, settings.intake.max_header, rings, events.identity_rejected, told
            )
            redis = await stack.enter_async_context(connected(settings.store))
            workers = Workers(context.runtime.folder, context.number, context.workers)
            revisions = Revisions(settings.control.state)
            status = StatusApi(
                stop.is_set, lambda: limiter.is_degraded, lambda: revisions.in_force.pin is not None, metrics.scrape
            )
            control = ControlPlane(
                settings, workers, context.runtime.since, book, self._material, identity, rings, limiter, redis,
                poller, events, metrics, log, status, Explainer(settings, rings).explain, rule_tests_of(settings),
                revisions,
            )  # fmt: skip
            self._reload = control.reloader.reload_on_signal

            cors = Cors(settings.cors_origins)
            refusal = Refusal(settings.answers)

            def proxy_to(destination: Destination, reader: RequestReader) -> Proxy:
                return Proxy(
                    book,
                    identity,
                    limiter,
                    destination,
                    reader,
                    observer,
                    refusal,
                    control.bypass,
                    cors,
                    control.tiers.note,
                )

            around: Around = tracing.around if tracing is not None else lambda handle: handle
            servers = open_servers(settings, proxy_to, around, destination, identity.trusts, events)
            self._certificates.follow = self._follow(forwarder, servers.values(), metrics)
            grpc = self._rate_limit(book, identity, limiter, events, refusal)
            holding: list[Server | GrpcServer] = [*servers.values(), *grpc.values()]
            self._watch(metrics, limiter, holding)

            pace = HandshakePace(settings.intake.max_handshakes)
            metrics.watch(definitions.HANDSHAKES_WAITING, lambda: pace.waiting)
            sites = await stack.enter_async_context(control.serve(self._with_tls(self._bound[CONTROL])))
            listening = [
                listen(
                    server, opened, settings.intake, events, BACKLOG, pace,
                    tls=self._certificates.context_of(listener.tls), proxies=listener.proxy_protocol,
                )
                for plane, server in servers.items()
                for listener, sockets in self._bound[plane].items()
                for opened in sockets
            ]  # fmt: skip
            listening += [
                accept(each, opened, BACKLOG)
                for plane, each in grpc.items()
                for sockets in self._bound[plane].values()
                for opened in sockets
            ]
            tune_garbage_collector()
            log.event("worker_serving", revision=book.current.revision)
            serving()
            await stop.wait()
            control.stop_watching()
            await self._drain(holding, listening, sites, log)

    def _rate_limit(
        self, book: RuleBook, identity: Identity, limiter: Limiter, events: Events, refusal: Refusal
    ) -> dict[str, "GrpcServer"]:
        """The door of the rate limit service, if there is one, by the name of its listeners."""
        most = self._settings.intake.max_connections
        return {
            name: open_rate_limit(door, book, identity, limiter, events, refusal, most)
            for name, door in self._settings.doors.by_name.items()
            if isinstance(door, RateLimit)
        }

    async def _drain(
        self,
        servers: "Collection[Server | GrpcServer]",
        listening: Sequence[Acceptor],
        sites: Sequence[SocketSite],
        log: Log,
    ) -> None:
        """Let requests in flight finish."""
        if self._drain_delay and not self._retired:
            log.event("worker_stopping", drain_delay=self._drain_delay)
            await asyncio.sleep(self._drain_delay)
        log.event("worker_draining", connections=sum(server.held for server in servers))
        if self._retired:
            for site in sites:
                await site.stop()
        for each in listening:
            if self._retired:
                each.close()
            else:
                await each.finish()
        drain_time = self._settings.drain_time
        aborted = sum(await asyncio.gather(*(server.drain(drain_time) for server in servers)))
        if aborted:
            log.event("drain_time_over", level="warning", connections=aborted)

    def _with_tls(self, bound: Bound) -> list[tuple[socket, SSLContext | None]]:
        """Every socket, and what it serves TLS with."""
        serving = self._certificates.serving
        return [(each, serving(listener.tls)) for listener, sockets in bound.items() for each in sockets]

    def _open_log(self, stack: AsyncExitStack, context: WorkerContext) -> Log:
        """The worker's log, in which libraries' messages appear as well."""
        policy = self._settings.log
        log = open_log(policy=policy, origin={"worker": context.number})
        stack.push_async_callback(log.close)
        root, handler = logging.getLogger(), StdlibHandler(log)
        root.addHandler(handler)
        root.setLevel("DEBUG" if policy.level == "debug" else "WARNING")
        stack.callback(root.removeHandler, handler)
        return log

    def _open_metrics(self, stack: AsyncExitStack, log: Log, context: WorkerContext) -> Metrics:
        index = context.counter_set * context.workers + context.number
        metrics = Metrics(self._counters, index, context.workers, context.cause)
        rules = self._book.current
        metrics.build(VERSION, platform.python_version())
        metrics.certificates(self._certificates.current.expiries)
        metrics.upstreams(self._settings.upstreams, [reason.value for reason in FailureReason])
        metrics.rules(rules.revision, rules.endpoints, rules.limits)
        metrics.expect_bad_requests(each.reason for each in BadRequest)
        metrics.watch(definitions.LOG_LINES_DROPPED, lambda: log.dropped)
        publishing = asyncio.create_task(metrics.keep_publishing())
        stack.callback(publishing.cancel)
        return metrics

    def _open_events(self, stack: AsyncExitStack, log: Log, metrics: Metrics) -> Events:
        """What all parts report to; with analytics, also what records the decisions."""
        settings, access_log = self._settings.analytics, self._settings.access_log
        if not settings.is_on:
            return Events(log, metrics, access_log=access_log)
        rollup = Rollup(self._book, time.time(), top_callers=settings.top_callers)
        events = Events(log, metrics, access_log=access_log, count=rollup.count, count_cost=rollup.count_cost)
        sink = open_sink(settings)
        recorder = Recorder(rollup, sink, events, interval=settings.interval, buffer=settings.buffer, clock=time.time)
        recorder.start()
        stack.push_async_callback(recorder.close)
        metrics.watch(definitions.ANALYTICS_WAITING, lambda: recorder.waiting)
        return events

    def _forwarder(self, observer: RequestObserver) -> Forwarder:
        settings, keep = self._settings, self._settings.keep_rate_limit_headers
        tls = self._certificates.current.contexts
        return Forwarder(settings.upstreams, observer, settings.dns, keep_rate_limits=keep, tls=tls)

    def _destination(self, forwarder: Forwarder, tracing: TracingObserver | None) -> Destination:
        return forwarder if tracing is None else TracedForwarder(forwarder, self._settings.upstreams, tracing)

    def _follow(
        self, forwarder: Forwarder, servers: Iterable[Server], metrics: Metrics
    ) -> Callable[[Certificates], None]:
        """What certificates that replace others are passed to."""
        verifying = [each.tls for each in self._settings.listen if each.tls is not None and each.tls.client_ca]
        contexts = self._certificates.current.contexts

        def follow(certificates: Certificates) -> None:
            nonlocal contexts
            if any(certificates.contexts[each] is not contexts[each] for each in verifying):
                for server in servers:
                    server.end_certified()
            contexts = certificates.contexts
            forwarder.use(certificates)
            metrics.certificates(certificates.expiries)

        return follow

    def _watch(self, metrics: Metrics, limiter: Limiter, servers: "Collection[Server | GrpcServer]") -> None:
        """Register the metrics whose values change by themselves."""
        if self._settings.store.url is not None:
            metrics.watch(definitions.REDIS_UP, lambda: not limiter.is_degraded)
            metrics.watch(definitions.FLEET, lambda: limiter.workers)
        metrics.watch(definitions.LOCAL_BUCKETS, lambda: limiter.held)
        metrics.watch_each(definitions.LIMIT_IN_FLIGHT, lambda: limiter.in_flight.by_limit)
        metrics.watch(definitions.EVICTIONS, lambda: limiter.evicted)
        metrics.watch(definitions.CONNECTIONS, lambda: sum(server.held for server in servers))
