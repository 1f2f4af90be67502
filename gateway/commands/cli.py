"""The command `gateway`: its parser, its exit codes, and how errors are printed."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from gateway.build import VERSION
from gateway.commands.console import escape_unprintable, flush_output, print_error, print_output
from gateway.config.diagnostic import ConfigError
from gateway.config.operator_error import OperatorError

OK, UNUSABLE = 0, 2
"""Exit codes: it did what it was asked to; its configuration or command line cannot be used. Between them is what the
command could not do, an `OperatorError`."""

_MODULES = {
    "serve": "serve",
    "check": "check",
    "explain": "explain",
    "test": "test",
    "replay": "replay",
    "reload": "operate",
    "usage": "operate",
    "status": "operate",
    "revisions": "revisions",
    "rollback": "revisions",
    "confirm": "revisions",
    "override": "override",
    "overrides": "overrides",
    "token": "token",
    "keys": "keys",
    "audit": "audit",
    "report": "report",
    "purge": "purge",
    "caller": "caller",
    "schema": "schema",
    "demo": "demo",
    "completion": "completion",
}
"""Which module of this package has a command, in the order of the help."""

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
        return int(options.run(options))
    except ConfigError as error:
        for problem in error.problems:
            print_error(str(problem))
        print_error(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}; nothing was done")
        return UNUSABLE
    except OperatorError as error:
        print_error(f"gateway: {error}")
        return error.exit_code


def _reserve_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if the parent process closed them; otherwise a socket of ours would land there."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(opened)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _parser(_modules(words)).parse_args(words)
    except SystemExit:
        flush_output()  # the help or the version; Python's own failure at exit would be printed, and change the code
        raise


def _modules(words: Sequence[str]) -> Sequence[str]:
    """The modules whose commands may be meant. The others are not loaded: some take longer than most commands run."""
    if words and words[0] in _MODULES and words[0] != "completion":
        return (_MODULES[words[0]],)
    return () if words[:1] == ["--version"] else tuple(dict.fromkeys(_MODULES.values()))


def _parser(modules: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway", description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"gateway {VERSION}")
    parser.set_defaults(parser=parser)  # of which `completion` makes its scripts
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _load(modules):
        module.add_commands(commands)
    return parser


def _load(names: Sequence[str]) -> list[ModuleType]:
    """Load modules of this package, without garbage collection: what they create stays, and there is a lot of it."""
    gc.disable()
    try:
        return [import_module(f"gateway.commands.{name}") for name in names]
    finally:
        gc.enable()
