"""The composition root: what one worker is made of, and how long each part lives."""

import asyncio
import gc
import logging
import platform
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from socket import socket

from gateway import __version__
from gateway.analytics.open import open_sink
from gateway.analytics.recorder import Recorder
from gateway.analytics.rollup import Rollup
from gateway.auth.cors import Cors
from gateway.auth.identity import build_identity, credential_headers, identity_headers
from gateway.config.loader import Loaded
from gateway.control.app import ControlPlane
from gateway.control.reload.workers import Workers
from gateway.control.status import StatusApi
from gateway.limiter.limiter import Limiter
from gateway.limiter.open import open_limiter
from gateway.limits.rules import RuleBook
from gateway.process.runtime import WorkerContext, open_runtime
from gateway.process.sockets import tls_context
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Proxy
from gateway.proxy.request import RequestReader
from gateway.proxy.server import Server
from gateway.proxy.tls_acceptor import listen
from gateway.redis.open import connected
from gateway.settings.listener import BACKLOG
from gateway.telemetry import definitions
from gateway.telemetry.events import Events
from gateway.telemetry.log import Log, open_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.shared_memory import SharedCounters
from gateway.telemetry.stdlib_handler import StdlibHandler
from gateway.tracing.open import open_tracer
from gateway.tracing.traced import TracedForwarder, TracingObserver


def spare_the_collector() -> None:
    """Have Python's garbage collector look at what a worker is made of no more, and less often at what comes and goes.

    Requests leave next to no cycles behind; by default it looks every few requests, and at everything now and then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Worker:
    """One process' share of the gateway: the data plane on its sockets, the control plane on others.

    Args:
        loaded: Settings and rules.
        public: Where to listen for clients.
        control: Where to listen for operators.
        counters: The counters of all workers of this gateway: the first set of each, then the second.
        place: Which worker this is, and what it shares with the others; made when there are none.
    """

    def __init__(
        self,
        loaded: Loaded,
        public: Sequence[socket],
        control: Sequence[socket],
        counters: Sequence[SharedCounters],
        place: WorkerContext | None = None,
    ) -> None:
        self._settings = loaded.settings
        self._public = public
        self._control = control
        self._counters = counters
        self._place = place
        self._book = RuleBook(loaded.rules)
        self._reload: Callable[[], Coroutine[None, None, None]] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._replaced = False

    def reload(self) -> None:
        """Have the rules of all workers read again; nothing happens before this one serves."""
        if self._reload is not None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    def retire(self, stop: asyncio.Event) -> None:
        """Stop: a successor listens on the same sockets, so connections that wait there are not lost."""
        self._replaced = True
        stop.set()

    async def run(self, stop: asyncio.Event, serving: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set, then let requests in flight finish.

        Args:
            stop: Ends it.
            serving: Called once requests are taken.
        """
        settings = self._settings
        async with AsyncExitStack() as stack:
            place = self._place or WorkerContext(stack.enter_context(open_runtime()))
            log = open_log(policy=settings.log, origin={"worker": place.number})
            stack.push_async_callback(log.close)
            libraries = StdlibHandler(log)
            logging.getLogger().addHandler(libraries)
            logging.getLogger().setLevel("DEBUG" if settings.log.level == "debug" else "WARNING")
            stack.callback(logging.getLogger().removeHandler, libraries)
            metrics = self._metrics(log, place)
            keeping = asyncio.create_task(metrics.keep_publishing())
            stack.callback(keeping.cancel)
            journal = self._journal(stack, log, metrics)

            limiter = open_limiter(settings.store, journal, workers=place.workers)
            await limiter.start()
            stack.push_async_callback(limiter.close)
            traced = None
            if settings.tracing is not None:
                traced = TracingObserver(journal, await stack.enter_async_context(open_tracer(settings.tracing, log)))
            forwarder = self._forwarder(journal, traced)
            stack.callback(forwarder.close)
            reader = RequestReader(identity_headers(settings.identity), credential_headers(settings.identity))
            identity = build_identity(settings.identity)
            status = StatusApi(lambda: server.draining, lambda: limiter.is_degraded, metrics.scrape)
            redis = await stack.enter_async_context(connected(settings.store))
            workers = Workers(place.runtime.folder, place.number, place.workers)
            since, book = place.runtime.since, self._book
            plane = ControlPlane(
                settings, workers, since, book, identity, limiter, redis, journal, metrics, log, status
            )
            self._reload = plane.reloader.reload_on_signal
            cors = Cors(settings.cors_origins)
            proxy = Proxy(self._book, identity, limiter, forwarder, reader, traced or journal, plane.bypass, cors)
            handle = proxy.handle if traced is None else traced.around(proxy.handle)
            server = Server(handle, settings.intake, journal, identity.trusts)
            self._watch(metrics, limiter, server)

            control_tls = tls_context(settings.control.listen.tls)
            sites = await stack.enter_async_context(plane.serve(self._control, control_tls))
            tls = tls_context(settings.listen.tls)
            listening = [
                await listen(server, public, settings.intake, journal, tls, BACKLOG) for public in self._public
            ]
            spare_the_collector()
            log.event("worker_serving", revision=self._book.current.revision)
            serving()
            await stop.wait()
            log.event("worker_draining", connections=server.held)
            if self._replaced:
                for site in sites:
                    await site.stop()
            for each in listening:
                each.close()
            broken_off = await server.drain(settings.drain_time)
            if broken_off:
                log.event("drain_time_over", level="warning", connections=broken_off)

    def _journal(self, stack: AsyncExitStack, log: Log, metrics: Metrics) -> Events:
        """What all parts report to. What it counts for the analytics is written while the stack stands."""
        settings, access_log = self._settings.analytics, self._settings.access_log
        if not settings.is_on:
            return Events(log, metrics, access_log=access_log)
        rollup = Rollup(self._book, time.time(), top_callers=settings.top_callers)
        journal = Events(log, metrics, access_log=access_log, count=rollup.count)
        recorder = Recorder(
            rollup,
            open_sink(settings),
            journal,
            interval=settings.interval,
            buffer=settings.buffer,
            clock=time.time,
        )
        recorder.start()
        stack.push_async_callback(recorder.close)
        metrics.watch(definitions.ANALYTICS_WAITING, lambda: recorder.waiting)
        return journal

    def _forwarder(self, events: Events, traced: TracingObserver | None) -> Forwarder:
        settings, keep = self._settings, self._settings.keep_rate_limit_headers
        if traced is None:
            return Forwarder(settings.upstreams, events, settings.dns, keep_rate_limits=keep)
        return TracedForwarder(settings.upstreams, traced, settings.dns, keep_rate_limits=keep)

    def _watch(self, metrics: Metrics, limiter: Limiter, server: Server) -> None:
        """Show what changes by itself."""
        if self._settings.store.url is not None:
            metrics.watch(definitions.REDIS_UP, lambda: not limiter.is_degraded)
            metrics.watch(definitions.FLEET, lambda: limiter.workers)
        metrics.watch(definitions.LOCAL_BUCKETS, lambda: limiter.held)
        metrics.watch(definitions.EVICTIONS, lambda: limiter.evicted)
        metrics.watch(definitions.CONNECTIONS, lambda: server.held)

    def _metrics(self, log: Log, place: WorkerContext) -> Metrics:
        metrics = Metrics(self._counters, place.turn * place.workers + place.number, place.workers, place.cause)
        rules = self._book.current
        metrics.build(__version__, platform.python_version())
        metrics.rules(rules.revision, rules.endpoints, [limit.name for limit in rules.limits])
        metrics.watch(definitions.LOG_LINES_DROPPED, lambda: log.dropped)
        return metrics
