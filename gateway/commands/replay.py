"""`gateway replay`: what new rules would have done to the requests in an access log."""

import argparse
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.commands.console import print_error, print_output
from gateway.commands.progress import ProgressBar
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.config.operator_error import OperatorError
from gateway.limits.identity import Identity
from gateway.replay.caveats import caveats_of, users_of
from gateway.replay.combined_log import GROUPS, CombinedLog
from gateway.replay.comparison import compare
from gateway.replay.gateway_log import GatewayLog
from gateway.replay.html import as_html
from gateway.replay.log_reader import STDIN, AccessLogs, LogError
from gateway.replay.order import in_order
from gateway.replay.play import Play
from gateway.replay.report import Replay, as_json, as_text

_CONFIG = Path("config/gateway.yaml")
_NOWHERE = "http://127.0.0.1:9"
"""The upstream if there is no gateway.yaml: nothing is sent there."""

_DIGITS = 6
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%|(0)", re.ASCII)
_MOST = 0.5
"""The share of lines that may be bad; with more, it is not a log that can be read."""


class ReplayError(OperatorError):
    """There is nothing that could be replayed. The message is for operators."""

    exit_code = 2


def add_commands(commands: Any) -> None:
    """Add `replay` to argparse's subcommands. Its `run` prints, or raises `ConfigError` or `ReplayError`."""
    replay = commands.add_parser(
        "replay",
        help="say what new rules would have done to the requests in an access log",
        description="Say which requests of an access log new rules would have refused, compared with the rules in "
        "force: how many, whose, and by which limit. It reads the gateway's own access log, in JSON, and the common "
        "and combined log formats of nginx and Apache. No gateway and no Redis is asked. Exit code 0, 1 if more than "
        "--at-most would be newly refused, 2 if the rules or the log cannot be used.",
    )
    replay.add_argument(
        "logs", metavar="FILE", nargs="+", type=Path,
        help="access logs, in any order, plain or compressed with gzip; - for standard input",
    )  # fmt: skip
    replay.add_argument("--rules", metavar="FILE", required=True, help="the new rules: a file or folder")
    replay.add_argument(
        "--against", metavar="FILE", help="the rules to compare with (default: those that gateway.yaml names)"
    )
    replay.add_argument("--config", metavar="FILE", type=Path, default=_CONFIG, help="(default %(default)s)")
    replay.add_argument(
        "--pattern", metavar="REGEX", type=_pattern,
        help="where a line of nginx or Apache says who sent the request: a regular expression with some of the named "
        "groups user, tier, address and host, as in '\"(?P<user>[^\"]*)\"$' (default: the address and user that it "
        "begins with)",
    )  # fmt: skip
    replay.add_argument(
        "--at-most", metavar="SHARE", type=_share,
        help="exit with 1 if a larger share of the requests would be newly refused, such as 0.1%%",
    )  # fmt: skip
    replay.add_argument("--top", metavar="N", type=_count, default=10, help="callers to list (default %(default)s)")
    replay.add_argument("--html", metavar="FILE", type=Path, help="also write a web page with charts")
    replay.add_argument("--json", action="store_true", help="print JSON")
    replay.set_defaults(run=_replay)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None
    if not pattern.groupindex or not pattern.groupindex.keys() <= set(GROUPS):
        raise argparse.ArgumentTypeError(f"{text!r} needs named groups, of {', '.join(GROUPS)}: (?P<user>...)")
    return pattern


def _share(text: str) -> float:
    form = _SHARE.fullmatch(text)
    share = float(form[1] or 0) / 100 if form is not None else 2
    if share > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share up to 100%; write it as in 0.1%")
    return share


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of callers, such as 10")
    return int(text)


def _replay(options: argparse.Namespace) -> int:
    if len(set(options.logs)) < len(options.logs):
        raise ReplayError("a log is named twice")
    old, new = _load(options, options.against), _load(options, options.rules)
    for warning in dict.fromkeys(map(str, (*old.warnings, *new.warnings))):  # those of the settings are in both
        print_error(f"warning: {warning}")
    identity = Identity((), (), new.settings.identity.hash_key)
    own = GatewayLog(identity, users_of(old.rules) | users_of(new.rules))
    web = CombinedLog(identity, options.pattern, dict.fromkeys((*old.rules.holders, *new.rules.holders)))
    progress = ProgressBar(None)
    logs = AccessLogs(
        tuple(options.logs),
        own,
        web,
        progress.show,
    )
    progress.size = logs.size
    before, after = Play(old.rules), Play(new.rules)
    try:
        with _without_collector():
            result = compare(in_order(logs), before, after)
    except LogError as error:
        raise ReplayError(str(error)) from error
    finally:
        progress.clear()
    _require_log(logs)
    replay = Replay(
        source=", ".join("standard input" if file == STDIN else str(file) for file in options.logs),
        before=_named(options.against or old.settings.rules),
        after=options.rules,
        result=result,
        bad=logs.bad,
        others=logs.others,
        caveats=tuple(caveats_of(logs, result, before, after, (old.rules, new.rules), new.settings)),
        most=options.top,
    )
    if options.html is not None:
        _write(options.html, as_html(replay))
    print_output(as_json(replay) if options.json else as_text(replay))
    if options.at_most is not None and result.share > options.at_most:
        print_error(
            f"{result.share:.3%} of the requests would be newly refused; --at-most allows {options.at_most:.3%}"
        )
        return 1
    return 0


@contextmanager
def _without_collector() -> Iterator[None]:
    """Without the collector of cycles: no line makes any, and it would look through all that is held, over and over."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _load(options: argparse.Namespace, rules: str | None) -> Loaded:
    config = options.config if options.config != _CONFIG or options.config.exists() else None
    loaded = load(config, Flags(rules=rules, upstream=None if config else _NOWHERE))
    if config is None and rules is None:
        return replace(loaded, warnings=())  # its only one is that nothing is limited, and the result says so
    return loaded


def _require_log(logs: AccessLogs) -> None:
    """Name the first bad lines.

    Raises:
        ReplayError: nothing was read, or too little of it.
    """
    for line in logs.named:
        print_error(f"warning: {line}")
    if logs.bad > len(logs.named):
        more = logs.bad - len(logs.named)
        print_error(f"warning: {more} more line{'s' * (more > 1)} could not be parsed")
    if logs.bad > _MOST * logs.lines:
        raise ReplayError(
            f"{logs.bad} of {logs.lines} lines could not be parsed; the log has to be the gateway's own, in JSON "
            "(log.format), or in the common or combined format of nginx and Apache"
        )
    if not logs.requests:
        raise ReplayError("there are no requests in the log; the gateway logs them if access_log says so")


def _named(rules: str | Path | None) -> str:
    return "none: nothing is limited" if rules is None else str(rules)


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ReplayError(f"--html {file} cannot be written: {error.strerror}") from error
