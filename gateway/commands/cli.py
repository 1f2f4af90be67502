"""The command `gateway`."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import uvloop

from gateway import __version__
from gateway.analytics.sink import SinkUnavailableError
from gateway.app import Worker
from gateway.auth.signing import SigningError
from gateway.commands.audit import AuditError, add_audit_commands
from gateway.commands.demo import demo_upstream
from gateway.commands.report import ReportError, add_report_command
from gateway.commands.schema import add_schema_command
from gateway.commands.serve import at, check, complain, greeting, say, serve, until_told
from gateway.commands.token import add_token_commands
from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.control.app import RuntimeFolderError
from gateway.control.audit.log import AuditLogError
from gateway.process.reexec import ReexecError
from gateway.process.sockets import ListenError, bind
from gateway.proxy.request_parser import UnsafeParserError, require_c_parser
from gateway.telemetry.shared_memory import SharedCounters

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
            complain(str(problem))
        complain(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}; nothing was started")
        return UNUSABLE
    except (
        ListenError, RuntimeFolderError, ReexecError, UnsafeParserError, SigningError, AuditError, AuditLogError,
        ReportError, SinkUnavailableError,
    ) as error:  # fmt: skip
        complain(f"gateway: {error}")
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

    serving = commands.add_parser(
        "serve", help="run the gateway", description="Run the gateway. A flag wins over the file."
    )
    serving.set_defaults(run=serve)
    checking = commands.add_parser(
        "check",
        help="validate the configuration and print what would be in force",
        description="Validate the configuration and print what would be in force. Exit code 0, or 2 with all problems.",
    )
    checking.set_defaults(run=check)
    for command in (serving, checking):
        command.add_argument("--config", metavar="FILE", type=Path, help="gateway.yaml; without it, the defaults")
        command.add_argument("--upstream", metavar="URL", help="where requests go, as http://127.0.0.1:9000")
        command.add_argument("--listen", metavar="HOST:PORT", help="the public port (default 127.0.0.1:8080)")
        command.add_argument("--control", metavar="HOST:PORT", help="the control plane's port (default 127.0.0.1:8081)")
        command.add_argument("--store", metavar="memory|redis://…", help="where buckets live (default memory)")
        command.add_argument("--rules", metavar="FILE", help="rules.yaml, or a folder of rule files")
        command.add_argument("--workers", metavar="N", help="processes (default: one a core with Redis, else one)")

    add_token_commands(commands)
    add_audit_commands(commands)
    add_report_command(commands)
    add_schema_command(commands)
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


def _demo(options: argparse.Namespace) -> int:
    loaded = load(options.config)
    settings = loaded.settings
    public, control = bind(settings.listen), bind(settings.control.listen)
    upstream = settings.upstreams["default"].urls[0]
    say(greeting(loaded, public[0], control[0], 1))
    here = f"http://{at(public[0])}"
    say(
        f"""
Try, in another terminal. This answers 200, from the demo upstream:
  curl -i {here}/v1/orders/7
and this ends in 429:
  for i in $(seq 12); do curl -s -o /dev/null -w '%{{http_code}}\\n' -X POST {here}/v1/orders; done

The rules are in {settings.rules}: change them and start again. Ctrl-C ends this."""
    )

    async def run() -> None:
        async with demo_upstream(upstream.host, upstream.port):
            await until_told(Worker(loaded, public, control, [SharedCounters()]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return OK
