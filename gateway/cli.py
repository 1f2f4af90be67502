"""The command `gateway`."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from socket import socket

import uvloop

from gateway import __version__
from gateway.analytics.command import ReportError, add_report_command
from gateway.analytics.shelf import ShelfAwayError
from gateway.app import UnsafeParserError, Worker, open_redis, require_c_parser, shelf_of
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.config.problem import ConfigError
from gateway.config.report import report
from gateway.control.audit_command import AuditError, add_audit_commands
from gateway.control.ledger import LedgerError
from gateway.demo import demo_upstream
from gateway.listeners import ListenError, bind, tls_context
from gateway.plane import Runtime, ledger_of, open_runtime
from gateway.supervisor import SIGNALS, Supervisor
from gateway.telemetry.tally import Tally
from gateway.tokens.command import add_token_commands
from gateway.tokens.mint import MintError

OK, FAILED, UNUSABLE = 0, 1, 2
"""Exit codes: it ran and ended as it should; it could not; its configuration or command line cannot be used."""

_STDERR = 2

_ABOUT = """\
A reverse proxy that lets through only what each user and each endpoint is allowed.

Limits are token buckets, written in YAML and kept in Redis (or, for one process, in memory).
Whoever is over a limit gets a plain 429 that says nothing else.
"""

_EXAMPLES = """\
first try, no file needed; without rules nothing is limited:
  gateway serve --upstream http://127.0.0.1:9000
the same with limits, shared through Redis:
  gateway serve --upstream http://127.0.0.1:9000 --rules rules.yaml --store redis://127.0.0.1:6379/0
production:
  gateway check --config config/gateway.yaml && gateway serve --config config/gateway.yaml

exit codes: 0 ended as told, 1 could not start or had to be killed, 2 configuration or command line cannot be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    _hold_standard_descriptors()
    options = _parser().parse_args(arguments)
    try:
        if "say" in options:
            print(options.say(options))
            return OK
        require_c_parser()
        return int(options.run(options))
    except ConfigError as error:
        for problem in error.problems:
            _say(str(problem))
        _say(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}; nothing was started")
        return UNUSABLE
    except (ListenError, UnsafeParserError, MintError, AuditError, LedgerError, ReportError, ShelfAwayError) as error:
        _say(f"gateway: {error}")
        return FAILED


def _hold_standard_descriptors() -> None:
    """Put something behind descriptors 0 to 2 if whoever started us closed them; else a socket of ours lands there."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(opened)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway", description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve", help="run the gateway", description="Run the gateway. A flag wins over the file."
    )
    serve.set_defaults(run=_serve)
    check = commands.add_parser(
        "check",
        help="validate the configuration and print what would be in force",
        description="Validate the configuration and print what would be in force. Exit code 0, or 2 with all problems.",
    )
    check.set_defaults(run=_check)
    for command in (serve, check):
        command.add_argument("--config", metavar="FILE", type=Path, help="gateway.yaml; without it, the defaults")
        command.add_argument("--upstream", metavar="URL", help="where requests go, as http://127.0.0.1:9000")
        command.add_argument("--listen", metavar="HOST:PORT", help="the public port (default 127.0.0.1:8080)")
        command.add_argument("--control", metavar="HOST:PORT", help="the control plane's port (default 127.0.0.1:8081)")
        command.add_argument("--store", metavar="memory|redis://…", help="where buckets live (default memory)")
        command.add_argument("--rules", metavar="FILE", help="rules.yaml, or a folder of rule files")
        command.add_argument("--workers", metavar="N", help="processes (default: one a core with Redis, else one)")

    add_token_commands(commands)
    add_audit_commands(commands, open_redis)
    add_report_command(commands, shelf_of)
    demo = commands.add_parser(
        "demo",
        help="run the gateway in front of a small upstream of its own, to try it out",
        description="A first try.",
    )
    demo.add_argument(
        "--config", metavar="FILE", type=Path, default=Path("config/gateway.yaml"), help="(default %(default)s)"
    )
    demo.set_defaults(run=_demo)
    return parser


def _load(options: argparse.Namespace) -> Loaded:
    flags = Flags(**{name: getattr(options, name, None) for name in Flags.__dataclass_fields__})
    loaded = load(options.config, flags)
    for warning in loaded.warnings:
        _say(f"warning: {warning}")
    return loaded


def _check(options: argparse.Namespace) -> int:
    print(report(_load(options)))
    return OK


def _serve(options: argparse.Namespace) -> int:
    loaded = _load(options)
    settings = loaded.settings
    count = settings.workers or (1 if settings.store.url is None else os.cpu_count() or 1)
    tls_context(settings.listen.tls)
    tls_context(settings.control.listen.tls)
    if settings.analytics.is_on:
        shelf_of(settings.analytics)  # what it takes is there, or is said to be missing now
    public, control = bind(settings.listen, count), bind(settings.control.listen, count)
    ledger = ledger_of(settings.control)
    if ledger is not None:
        ledger.begin(loaded.rules.revision)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _say(_greeting(loaded, public[0], control[0], count))
    with open_runtime() as runtime:
        return _work(loaded, public, control, runtime)


def _work(loaded: Loaded, public: Sequence[socket], control: Sequence[socket], runtime: Runtime) -> int:
    count = len(public)
    tallies = [Tally() for _ in range(count)]

    def work(number: int, lifeline: int | None = None) -> int:
        return _run(Worker(loaded, public[number], control[number], tallies, number, runtime), lifeline)

    if count == 1:
        return work(0)
    return Supervisor(
        count,
        lambda number, lifeline: sys.exit(work(number, lifeline)),
        _say,
        loaded.settings.drain_time + 5,
    ).run()


def _run(worker: Worker, lifeline: int | None = None) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(worker, lifeline))
    return OK


async def _until_told(worker: Worker, lifeline: int | None = None) -> None:
    """Serve until a signal comes, or `lifeline` comes to its end: whoever supervised us is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, worker.reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if lifeline is not None:
        loop.add_reader(lifeline, _end_of_life, loop, lifeline, stop)
    await worker.run(stop)


def _end_of_life(loop: asyncio.AbstractEventLoop, lifeline: int, stop: asyncio.Event) -> None:
    loop.remove_reader(lifeline)  # it would be ready for ever
    stop.set()


def _greeting(loaded: Loaded, public: socket, control: socket, workers: int) -> str:
    settings, rules = loaded.settings, loaded.rules
    scheme = "https" if settings.listen.tls else "http"
    upstreams = ", ".join(str(url) for upstream in settings.upstreams.values() for url in upstream.urls)
    limited = (
        f"{len(rules.endpoints)} endpoints, {len(rules.limits)} limits from {settings.rules}, revision {rules.revision}"
        if rules.limits
        else "none: NOTHING IS LIMITED. Give a file of rules with --rules, or as rules: in gateway.yaml"
    )
    return (
        f"gateway {__version__} on {scheme}://{_at(public)} in front of {upstreams}\n"
        f"  control  http://{_at(control)}\n"
        f"  store    {settings.store}\n"
        f"  workers  {workers}\n"
        f"  rules    {limited}"
    )


def _at(listening: socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _demo(options: argparse.Namespace) -> int:
    loaded = load(options.config)
    settings = loaded.settings
    public, control = bind(settings.listen), bind(settings.control.listen)
    upstream = settings.upstreams["default"].urls[0]
    _say(_greeting(loaded, public[0], control[0], 1))
    here = f"http://{_at(public[0])}"
    _say(
        f"""
Try, in another terminal. This answers 200, from the demo upstream:
  curl -i {here}/v1/orders/7
and this ends in 429:
  for i in $(seq 12); do curl -s -o /dev/null -w '%{{http_code}}\\n' -X POST {here}/v1/orders; done

The rules are in {settings.rules}: change them and start again. Ctrl-C ends this."""
    )

    async def run() -> None:
        async with demo_upstream(upstream.host, upstream.port):
            await _until_told(Worker(loaded, public[0], control[0], [Tally()]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return OK


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
