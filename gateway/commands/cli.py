"""The command `gateway`: its parser, its exit codes, and how errors are printed."""

import argparse
import os
from collections.abc import Sequence

from gateway import __version__
from gateway.analytics.sink import SinkUnavailableError
from gateway.auth.signing import SigningError
from gateway.commands.audit import AuditError, add_audit_commands
from gateway.commands.caller import CallerError, add_caller_command
from gateway.commands.check import add_check_command
from gateway.commands.completion import add_completion_command
from gateway.commands.console import OutputError, escape_unprintable, flush_output, print_error, print_output
from gateway.commands.control_client import ControlClientError
from gateway.commands.demo import add_demo_command
from gateway.commands.explain import ExplainError, add_explain_command
from gateway.commands.operate import add_operate_commands
from gateway.commands.override import add_override_commands
from gateway.commands.purge import PurgeError, add_purge_command
from gateway.commands.replay import ReplayError, add_replay_command
from gateway.commands.report import ReportError, add_report_command
from gateway.commands.schema import add_schema_command
from gateway.commands.serve import add_serve_command
from gateway.commands.test import JunitFileError, add_test_command
from gateway.commands.token import add_token_commands
from gateway.config.diagnostic import ConfigError
from gateway.control.audit.log import AuditLogError
from gateway.process.reexec import ReexecError
from gateway.process.runtime import RuntimeFolderError
from gateway.process.sockets import ListenError
from gateway.process.state_lock import StateLockError
from gateway.proxy.request_parser import UnsafeParserError, require_c_parser

OK, FAILED, UNUSABLE = 0, 1, 2
"""Exit codes: it did what it was asked to; it could not; its configuration or command line cannot be used."""

_STDERR = 2

_ABOUT = """\
A reverse proxy that lets through only what each user and each endpoint is allowed.

Limits are token buckets, written in YAML and kept in Redis (or, for one process, in memory).
A client over a limit gets a plain 429 that says nothing else.
"""

_EXAMPLES = """\
first try, no file needed; without rules nothing is limited:
  gateway serve --upstream http://127.0.0.1:9000
the same with limits, shared through Redis:
  gateway serve --upstream http://127.0.0.1:9000 --rules rules.yaml --store redis://127.0.0.1:6379/0
production:
  gateway check --config config/gateway.yaml && gateway serve --config config/gateway.yaml

exit codes: 0 success, 1 could not start or had to be killed, 2 the configuration or command line cannot be used
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    _reserve_standard_descriptors()
    escape_unprintable()
    try:
        options = _parse(arguments)
        if "render" in options:
            print_output(options.render(options))
            return OK
        require_c_parser()
        return int(options.run(options))
    except ConfigError as error:
        for problem in error.problems:
            print_error(str(problem))
        print_error(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}; nothing was done")
        return UNUSABLE
    except ReplayError as error:
        print_error(f"gateway: {error}")
        return UNUSABLE
    except (
        ListenError, RuntimeFolderError, ReexecError, UnsafeParserError, SigningError, AuditError, AuditLogError,
        CallerError, ReportError, SinkUnavailableError, OutputError, StateLockError, ControlClientError, ExplainError,
        PurgeError, JunitFileError,
    ) as error:  # fmt: skip
        print_error(f"gateway: {error}")
        return FAILED


def _reserve_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if the parent process closed them; otherwise a socket of ours would land there."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(opened)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return _parser().parse_args(arguments)
    except SystemExit:
        flush_output()  # the help or the version; Python's own failure at exit would be printed, and change the code
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway", description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_serve_command(commands)
    add_check_command(commands)
    add_explain_command(commands)
    add_test_command(commands)
    add_replay_command(commands)
    add_operate_commands(commands)
    add_override_commands(commands)
    add_token_commands(commands)
    add_audit_commands(commands)
    add_report_command(commands)
    add_purge_command(commands)
    add_caller_command(commands)
    add_schema_command(commands)
    add_demo_command(commands)
    add_completion_command(commands, parser)
    return parser
