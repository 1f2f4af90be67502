"""The commands `serve` and `check`: from a command line to running workers."""

import argparse
import asyncio
import os
import select
import signal
import sys
from collections.abc import Callable
from socket import socket

import uvloop

from gateway import __version__
from gateway.analytics.open import open_sink
from gateway.app import Worker
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.config.summary import summary
from gateway.control.app import Runtime, WorkerContext, ledger_of, open_runtime
from gateway.process.reexec import InheritedState
from gateway.process.sockets import bind, probe, tls_context
from gateway.process.supervisor import SIGNALS, Supervisor, Task
from gateway.settings.gateway import Settings
from gateway.settings.listener import Listener
from gateway.settings.url import HostPort
from gateway.telemetry import definitions, shared_memory
from gateway.telemetry.log import open_plain_log, trace_of
from gateway.telemetry.shared_memory import SharedCounters

OK = 0

_STDERR = 2
_LAST_WORDS = 10.0
"""Seconds behind `drain_time` in which a worker ends. It takes 7 when nobody answers: of a request on the control port,
of the collector, of the analytics' database and of the log, it waits for one after the other."""

_FOR_LATER = (signal.SIGHUP, signal.SIGUSR2)
"""Signals that do not end a gateway, not even one that has just begun to start."""
_READER_MS = 100


def check(options: argparse.Namespace) -> int:
    """Print what would be in force."""
    print(summary(_load(options, complain)))
    return OK


def serve(options: argparse.Namespace) -> int:
    """Run the gateway, as a new one or in the place of the one that this process was."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_LATER)
    left = InheritedState.received()
    loaded = _load(options, say)
    settings = loaded.settings
    count = settings.workers or (1 if settings.store.url is None else os.cpu_count() or 1)
    tls_context(settings.listen.tls)
    tls_context(settings.control.listen.tls)
    if settings.analytics.is_on:
        open_sink(settings.analytics)  # what it takes is there, or is said to be missing now
    if left is not None and left.rehearsal:
        for purpose, listener in _listeners(settings).items():
            if purpose not in left.sockets:
                probe(listener)
        _begin_ledger(loaded)
        with open_runtime():
            return OK
    sockets = _sockets(settings, count, left)
    _begin_ledger(loaded)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    public, control = sockets.values()
    say(greeting(loaded, public[0], control[0], count))
    with open_runtime() as runtime:
        return _supervise(loaded, sockets, count, runtime, left)


def _begin_ledger(loaded: Loaded) -> None:
    ledger = ledger_of(loaded.settings.control)
    if ledger is not None:
        ledger.begin(loaded.rules.revision)


def _load(options: argparse.Namespace, tell: Callable[[str], None]) -> Loaded:
    flags = Flags(**{name: getattr(options, name, None) for name in Flags.__dataclass_fields__})
    loaded = load(options.config, flags)
    for warning in loaded.warnings:
        tell(f"warning: {warning}")
    return loaded


def _listeners(settings: Settings) -> dict[str, Listener]:
    """By what a handover calls them."""
    pairs = (("public", settings.listen), ("control", settings.control.listen))
    return {f"{name} {listener.host} {listener.port}": listener for name, listener in pairs}


def _sockets(settings: Settings, count: int, left: InheritedState | None) -> dict[str, list[socket]]:
    """Those to listen on, by purpose. Inherited ones that nobody wants are closed."""
    inherited = {
        purpose: [socket(fileno=descriptor) for descriptor in descriptors]
        for purpose, descriptors in (left.sockets if left else {}).items()
    }
    wanted = _listeners(settings)
    for purpose, sockets in inherited.items():
        if purpose not in wanted:
            for each in sockets:
                each.close()
    return {purpose: bind(listener, count, inherited.get(purpose, ())) for purpose, listener in wanted.items()}


def _tallies(layout: str, count: int, left: InheritedState | None) -> list[SharedCounters]:
    """Two for each worker: those that were left to us, if we count alike."""
    if left is not None and left.layout == layout:
        return [SharedCounters(descriptor) for descriptor in left.tallies]
    for descriptor in left.tallies if left else ():
        os.close(descriptor)
    return [SharedCounters() for _ in range(2 * count)]


def _supervise(
    loaded: Loaded, sockets: dict[str, list[socket]], count: int, runtime: Runtime, left: InheritedState | None
) -> int:
    layout = f"{shared_memory.FORM} {definitions.LAYOUT} {count}"
    tallies = _tallies(layout, count, left)
    public, control = sockets.values()

    def work(task: Task) -> None:
        place = WorkerContext(runtime, task.number, count, task.turn, task.cause)
        worker = Worker(loaded, public[task.number :: count], control[task.number :: count], tallies, place)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(until_told(worker, task.lifeline, lambda: _tell(task.ready)))
        except Exception as error:
            told = open_plain_log(policy=loaded.settings.log, origin={"worker": task.number})
            # What fails here is of our making or the machine's: there is nothing of a client's in its message.
            why = str(error).partition("\n")[0]
            told.event("worker_failed", level="error", why=why, error=type(error).__name__, trace=trace_of(error))
            raise

    estate = InheritedState(
        sockets={purpose: [each.fileno() for each in opened] for purpose, opened in sockets.items()},
        tallies=[each.descriptor for each in tallies],
        layout=layout,
        lifeline=left.lifeline if left else os.pipe(),
        folders=[*(left.folders if left else ()), str(runtime.folder)],
        workers=left.workers if left else (),
    )
    log = open_plain_log(policy=loaded.settings.log, origin={"worker": "supervisor"})

    def tell(text: str) -> None:
        log.event("supervisor", message=text)

    return Supervisor(count, work, tell, loaded.settings.drain_time + _LAST_WORDS, estate).run()


def _tell(ready: int) -> None:
    os.write(ready, b".")
    os.close(ready)


async def until_told(worker: Worker, lifeline: int | None = None, serving: Callable[[], None] = lambda: None) -> None:
    """Serve until a signal comes, or `lifeline` comes to its end: whoever supervised us is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, worker.reload)
    loop.add_signal_handler(signal.SIGUSR2, worker.give_way, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if lifeline is not None:
        loop.add_reader(lifeline, _end_of_life, loop, lifeline, stop)
    await worker.run(stop, serving)


def _end_of_life(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    loop.remove_reader(lifeline)  # it would be ready for ever
    stop.set()


def greeting(loaded: Loaded, public: socket, control: socket, workers: int) -> str:
    """What is said at the start: where it listens, and what is in force."""
    settings, rules = loaded.settings, loaded.rules
    upstreams = ", ".join(str(url) for upstream in settings.upstreams.values() for url in upstream.urls)
    limited = (
        f"{len(rules.endpoints)} endpoints, {len(rules.limits)} limits from {settings.rules}, revision {rules.revision}"
        if settings.rules
        else "none: NOTHING IS LIMITED. Give a file of rules with --rules, or as rules: in gateway.yaml"
    )
    if settings.rules and not rules.limits:
        limited += ": NOTHING IS LIMITED. Write limits: into the rules"
    return (
        f"gateway {__version__} on {_url(settings.listen, public)} in front of {upstreams}\n"
        f"  control  {_url(settings.control.listen, control)}\n"
        f"  store    {settings.store}\n"
        f"  workers  {workers}\n"
        f"  rules    {limited}"
    )


def _url(listener: Listener, listening: socket) -> str:
    return f"{'https' if listener.tls else 'http'}://{at(listening)}"


def at(listening: socket) -> str:
    """Where a socket listens, as ``host:port``."""
    host, port, *_ = listening.getsockname()
    return str(HostPort(host, port))


def complain(text: str) -> None:
    """Tell whoever ran a command, on standard error."""
    print(text, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Tell the operator of a gateway. If nobody reads standard error, it is lost and keeps nobody waiting."""
    writable = select.poll()
    writable.register(_STDERR, select.POLLOUT)
    try:
        for line in text.splitlines():
            if writable.poll(_READER_MS):
                os.write(_STDERR, f"{line}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
