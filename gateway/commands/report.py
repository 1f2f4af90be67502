"""`gateway report`: print who is hitting which limit."""

import argparse
import asyncio
import re
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.analytics.html import as_html
from gateway.analytics.open import open_sink
from gateway.analytics.report import Report, make_report, time_range
from gateway.analytics.sink import Sink, TimeRange, Totals
from gateway.analytics.text import as_json, as_text
from gateway.commands.caller import address_digest, parse_address, user_digest
from gateway.commands.console import printable_lines
from gateway.config.loader import load
from gateway.config.operator_error import OperatorError
from gateway.limits.duration import parse_duration
from gateway.limits.identity import Identity

_CONFIG = Path("config/gateway.yaml")
_MAX_CALLERS = 10


class ReportError(OperatorError):
    """A report cannot be made or written. The message is for operators."""


def add_commands(commands: Any) -> None:
    """Add `report` to argparse's subcommands. Its `render` returns what to print.

    `render` raises `ReportError`, `SinkUnavailableError`, and `ConfigError` for invalid settings.
    """
    report = commands.add_parser(
        "report",
        help="print who is hitting which limit",
        description="Print who is hitting which limit, as counted by the gateways. Requires the section `analytics` in "
        "gateway.yaml. Callers are identified by their keyed hash.",
    )
    report.add_argument("--config", metavar="FILE", type=Path, default=_CONFIG, help="(default %(default)s)")
    report.add_argument(
        "--since", metavar="WHEN", type=_instant, default="24h",
        help="start: an age such as 30m, 24h or 7d, or a time in UTC such as 2026-01-31T23:59Z (default %(default)s)",
    )  # fmt: skip
    report.add_argument("--until", metavar="WHEN", type=_instant, default="0m", help="end: as above (default now)")
    report.add_argument(
        "--top",
        metavar="N",
        type=_number,
        default=_MAX_CALLERS,
        help="callers to list for each limit (default %(default)s)",
    )
    form = report.add_mutually_exclusive_group()
    form.add_argument("--html", metavar="FILE", type=Path, help="write a web page with a chart instead")
    form.add_argument("--json", action="store_true", help="print JSON instead")
    report.add_argument(
        "--endpoint", metavar="NAME", help="report on this endpoint only, and print the callers that were charged most"
    )
    report.add_argument(
        "--names",
        metavar="FILE",
        type=Path,
        help="a file of known user ids, one a line: print them in place of their hashes",
    )
    who = report.add_mutually_exclusive_group()
    who.add_argument("--user", metavar="ID", help="report on this user only, and print the hash that stands for them")
    who.add_argument(
        "--address",
        metavar="IP",
        type=parse_address,
        help="report on what this address did without a user id, and against limits per address, only; as above",
    )
    report.set_defaults(render=_report)


def _instant(text: str) -> int:
    """Seconds since 1970."""
    with suppress(ValueError, OverflowError):
        instant = datetime.fromisoformat(text)
        return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp())
    try:
        return int(time.time() - parse_duration(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a duration before now, such as 24h, nor a time, such as 2026-01-31T23:59Z"
        ) from None


def _number(text: str) -> int:
    if re.fullmatch(r"[1-9][0-9]{0,5}", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999")
    return int(text)


def _report(options: argparse.Namespace) -> str:
    configuration = load(options.config)
    settings = configuration.settings
    if not settings.analytics.is_on:
        raise ReportError(f"{options.config} has no section analytics, so nothing is counted")
    if options.since >= options.until:
        raise ReportError("--since is not before --until")
    period = time_range(options.since, options.until)
    identity = Identity((), (), settings.identity.hash_key)
    names = _names(options.names, identity) if options.names else {}
    totals = asyncio.run(_read(open_sink(settings.analytics), period))
    _require_endpoint(
        options.endpoint, {*configuration.rules.endpoints, *(row.endpoint for _, row in totals.decisions)}
    )
    report = make_report(
        period,
        totals,
        str(settings.analytics),
        most_callers=options.top,
        caller=_caller(options, identity),
        endpoint=options.endpoint,
        names=names,
    )
    return _render(report, options)


def _require_endpoint(name: str | None, known: AbstractSet[str]) -> None:
    if name is not None and name not in known:
        raise ReportError(f"no endpoint is named {name}; there are {', '.join(sorted(known))}")


def _names(file: Path, identity: Identity) -> Mapping[str, str]:
    """The user ids in a file, by digest."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ReportError(f"--names {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"--names {file}: it is not in UTF-8") from error
    return {user_digest(identity, line.strip()): line.strip() for line in lines if line.strip()}


def _caller(options: argparse.Namespace, identity: Identity) -> str | None:
    """The digest of the caller to report on; None for all."""
    if options.user is not None:
        return user_digest(identity, options.user)
    if options.address is not None:
        return address_digest(identity, options.address)
    return None


async def _read(sink: Sink, period: TimeRange) -> Totals:
    try:
        return await sink.read(period)
    finally:
        await sink.close()


def _render(report: Report, options: argparse.Namespace) -> str:
    if options.json:
        return as_json(report)
    if options.html is None:
        return printable_lines(as_text(report).split("\n"))
    try:
        options.html.write_text(as_html(report))
    except OSError as error:
        raise ReportError(f"{options.html}: {error.strerror}") from error
    return str(options.html)
