"""`gateway serve`: from a command line to running workers."""

import argparse
import asyncio
import gc
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import uvloop

from gateway.analytics.open import open_sink
from gateway.app import Worker
from gateway.build import VERSION
from gateway.commands.config import add_config_flags, load_config
from gateway.commands.console import print_unless_blocked
from gateway.config.key_material import KeyMaterial, load_key_material
from gateway.config.loader import Loaded
from gateway.control.audit.log_file import open_audit_log
from gateway.control.reload.revisions import Revisions
from gateway.control.reload.start import start_in_force
from gateway.process.processors import worker_count
from gateway.process.reexec import InheritedState
from gateway.process.runtime import Runtime, WorkerContext, open_runtime
from gateway.process.service_manager import ServiceManager
from gateway.process.sockets import Bound, bind, close, close_sockets, discard, of_worker, probe
from gateway.process.state_folder import default_state
from gateway.process.state_lock import check_state, relock_state
from gateway.process.supervisor import APPLIED, REJECTED, SIGNALS, Supervisor, WorkerTask
from gateway.proxy.request_parser import require_c_parser
from gateway.settings.gateway import CONTROL, PUBLIC, Settings
from gateway.settings.listener import Listener
from gateway.settings.url import HostPort
from gateway.telemetry import definitions, shared_memory
from gateway.telemetry.log import open_plain_log, trace_of
from gateway.telemetry.shared_memory import SharedCounters

_STOP_MARGIN = 10.0
"""Seconds that a worker has to exit after `drain_time`. It takes 7 when nothing responds: it waits for a request on the
control listener, for the trace collector, for the analytics' database and for the log, one after the other."""

_LIBUV_THREADS = "32"
"""libuv's threads, half of which may resolve names at a time; the libraries of Redis and PostgreSQL use them for that.
By default there are four, and a name that hangs keeps one busy for up to a minute after everyone stopped waiting."""

_DEFERRED = (signal.SIGHUP, signal.SIGUSR2)
"""Signals that do not end a gateway, not even one that is only just starting."""


def add_commands(commands: Any) -> None:
    """Add `serve` to argparse's subcommands."""
    serve = commands.add_parser(
        "serve", help="run the gateway", description="Run the gateway. Flags override the file."
    )
    add_config_flags(serve)
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    """Run the gateway, as a new one or as the successor of the program that this process was."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _DEFERRED)
    require_c_parser()
    inherited = InheritedState.from_environment()
    loaded = _with_state(load_config(options, print_unless_blocked), options.config)
    settings = loaded.settings
    count = worker_count(settings)
    material = load_key_material(settings)
    if settings.analytics.is_on:
        open_sink(settings.analytics)  # what it needs is installed, or is reported as missing now
    if inherited is not None and inherited.dry_run:
        for name, listener in _listeners(settings).items():
            if name not in inherited.sockets:
                probe(listener)
        if settings.control.state is not None:
            check_state(settings.control.state, inherited.locks)
        _begin_audit_log(loaded)
        with open_runtime():
            return 0
    with ExitStack() as stack:
        sockets = _open_sockets(settings, count, inherited, stack)
        locks = relock_state(settings.control.state, inherited.locks if inherited else {})
        loaded = start_in_force(loaded, Revisions(settings.control.state), print_unless_blocked)
        _begin_audit_log(loaded)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        bound = {plane: _by_listener(each, plane, sockets) for plane, each in settings.listeners.items()}
        print_unless_blocked(banner(loaded, bound, count))
        runtime = stack.enter_context(open_runtime())
        return _supervise(loaded, material, sockets, locks, bound, count, runtime, inherited)


def _with_state(loaded: Loaded, config: Path | None) -> Loaded:
    """With the default folder for `control.state` where none is set."""
    control = loaded.settings.control
    if control.state is not None:
        return loaded
    state = default_state(control.listen, config, os.environ)
    if state is None:
        print_unless_blocked(
            "warning: control.state is not set, and there is no default folder that can be written: the audit log of "
            "reloads goes to the log, and nothing else can be changed at run time"
        )
    return replace(loaded, settings=replace(loaded.settings, control=replace(control, state=state)))


def _begin_audit_log(loaded: Loaded) -> None:
    audit_log = open_audit_log(loaded.settings.control)
    if audit_log is not None:
        audit_log.begin(loaded.rules.revision)


def _listeners(settings: Settings) -> dict[str, Listener]:
    """The listeners, by the names they have in `InheritedState`."""
    pairs = settings.listeners.items()
    return {_name_of(plane, listener): listener for plane, listeners in pairs for listener in listeners}


def _name_of(plane: str, listener: Listener) -> str:
    if listener.unix:
        return f"{plane} unix:{listener.unix}"
    return f"{plane} {listener.host} {listener.port}{'' if listener.ipv6_only else ' dual'}"


def _by_listener(listeners: Sequence[Listener], plane: str, sockets: Mapping[str, Sequence[socket]]) -> Bound:
    return {listener: sockets[_name_of(plane, listener)] for listener in listeners}


def _open_sockets(
    settings: Settings, count: int, state: InheritedState | None, stack: ExitStack
) -> dict[str, list[socket]]:
    """The listening sockets, by listener; `stack` closes them. Inherited ones that are no longer needed are closed."""
    inherited = {
        name: [socket(fileno=descriptor) for descriptor in descriptors]
        for name, descriptors in (state.sockets if state else {}).items()
    }
    listeners = _listeners(settings)
    for name, sockets in inherited.items():
        if name not in listeners:
            discard(sockets)
    opened = {}
    for name, listener in listeners.items():
        opened[name] = bind(listener, count, inherited.get(name, ()))
        stack.callback(close, listener, opened[name])
    return opened


def _open_counters(layout: str, count: int, state: InheritedState | None) -> list[SharedCounters]:
    """Two sets of counters for each worker: the inherited ones, if their layout is the same."""
    if state is not None and state.counters_layout == layout:
        return [SharedCounters(descriptor) for descriptor in state.counters]
    for descriptor in state.counters if state else ():
        os.close(descriptor)
    return [SharedCounters() for _ in range(2 * count)]


def _supervise(
    loaded: Loaded,
    material: KeyMaterial,
    sockets: Mapping[str, Sequence[socket]],
    locks: Mapping[str, int],
    bound: Mapping[str, Bound],
    count: int,
    runtime: Runtime,
    inherited: InheritedState | None,
) -> int:
    layout = f"{shared_memory.FORMAT} {definitions.LAYOUT} {count}"
    counters = _open_counters(layout, count, inherited)

    def work(task: WorkerTask) -> None:
        os.environ.setdefault("UV_THREADPOOL_SIZE", _LIBUV_THREADS)
        context = WorkerContext(runtime, task.number, count, task.counter_set, task.cause)
        mine = {plane: of_worker(each, task.number, count) for plane, each in bound.items()}
        # Another worker's socket would go on listening here when that worker has closed it.
        kept = {each for each_bound in mine.values() for opened in each_bound.values() for each in opened}
        close_sockets(each for opened in sockets.values() for each in opened if each not in kept)
        worker = Worker(loaded, mine, counters, context, material)

        def report_ready() -> None:
            _report(task.ready)
            os.close(task.ready)

        def report_reload(applied: bool) -> None:
            _report(task.reloaded, APPLIED if applied else REJECTED)

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run_until_signal(worker, task.lifeline, report_ready, report_reload))
        except Exception as error:
            worker_log = open_plain_log(policy=loaded.settings.log, origin={"worker": task.number})
            # What fails here is our doing or the machine's: its message holds nothing that a client sent.
            why = str(error).partition("\n")[0]
            worker_log.event("worker_failed", level="error", why=why, error=type(error).__name__, trace=trace_of(error))
            raise

    state = InheritedState(
        sockets={name: [each.fileno() for each in opened] for name, opened in sockets.items()},
        counters=[each.descriptor for each in counters],
        counters_layout=layout,
        lifeline=inherited.lifeline if inherited else os.pipe(),
        folders=[*(inherited.folders if inherited else ()), str(runtime.folder)],
        locks=locks,
        workers=inherited.workers if inherited else (),
    )
    log = open_plain_log(policy=loaded.settings.log, origin={"worker": "supervisor"})

    def log_message(text: str) -> None:
        log.event("supervisor", message=text)

    manager = ServiceManager.from_environment(log_message)
    settings = loaded.settings
    listening = [each for opened in sockets.values() for each in opened]
    gc.freeze()  # a worker's collections need not look at what it is forked with
    return Supervisor(
        count, work, log_message, settings.drain_time + _STOP_MARGIN, manager, state,
        lambda: close_sockets(listening), settings.drain_delay,
    ).run()  # fmt: skip


def _report(descriptor: int, text: bytes = b".") -> None:
    with suppress(OSError):  # the supervisor is gone, or has been replaced
        os.write(descriptor, text)


async def run_until_signal(
    worker: Worker,
    lifeline: int | None = None,
    serving: Callable[[], None] = lambda: None,
    reloaded: Callable[[bool], None] = lambda _: None,
) -> None:
    """Run a worker until a signal arrives, or until `lifeline` reaches its end because the supervisor is gone.

    Args:
        worker: The worker.
        lifeline: A descriptor of the supervisor's.
        serving: Called once requests are taken.
        reloaded: Called when a reload that SIGHUP asked for is over, with whether it was applied.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop, stop)
    loop.add_signal_handler(signal.SIGHUP, worker.reload, reloaded)
    loop.add_signal_handler(signal.SIGUSR2, worker.retire, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if lifeline is not None:
        loop.add_reader(lifeline, _stop_without_supervisor, loop, lifeline, stop)
    await worker.run(stop, serving)


def _stop_without_supervisor(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    loop.remove_reader(lifeline)  # it would stay readable
    stop.set()


def banner(loaded: Loaded, bound: Mapping[str, Bound], workers: int) -> str:
    """What is printed at the start: where the gateway listens, and what is in force."""
    settings, rules = loaded.settings, loaded.rules
    upstreams = ", ".join(str(url) for upstream in settings.upstreams.values() for url in upstream.urls)
    in_force = (
        f"{len(rules.endpoints)} endpoints, {len(rules.limits)} limits from {settings.rules}, revision {rules.revision}"
        if settings.rules
        else "none: NOTHING IS LIMITED. Name a file of rules with --rules, or as rules: in gateway.yaml"
    )
    if settings.rules and not rules.limits:
        in_force += ": NOTHING IS LIMITED. Write limits: into the rules"
    doors = "".join(f"  door     {name} on {_urls(bound[name])}\n" for name in settings.doors.by_name)
    return (
        f"gateway {VERSION} on {_urls(bound[PUBLIC])} in front of {upstreams}\n"
        f"  control  {_urls(bound[CONTROL])}\n"
        f"{doors}"
        f"  store    {settings.store}\n"
        f"  workers  {workers}\n"
        f"  rules    {in_force}"
    )


def _urls(bound: Bound) -> str:
    return ", ".join(_url(listener, sockets[0]) for listener, sockets in bound.items())


def _url(listener: Listener, opened: socket) -> str:
    if opened.family == AF_UNIX:
        return f"{listener.address}{' with TLS' if listener.tls else ''}"
    return f"{'https' if listener.tls else 'http'}://{address_of(opened)}"


def address_of(opened: socket) -> str:
    """Where a TCP socket listens, as ``host:port``."""
    host, port, *_ = opened.getsockname()
    return str(HostPort(host, port))
