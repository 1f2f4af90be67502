"""`load`: from files and flags to settings and rules, or to everything that is wrong with them."""

from dataclasses import dataclass
from pathlib import Path

from gateway.config.diagnostic import Diagnostic, Findings
from gateway.config.flags import Flags
from gateway.config.gateway_file import GATEWAY, gateway_file
from gateway.config.node import Node
from gateway.config.rulebook import read_rules
from gateway.limits.path import PathPolicy
from gateway.limits.rules import Rules
from gateway.settings.door import Doors
from gateway.settings.gateway import Settings, sources_of_attributes
from gateway.settings.identity import IdentityPolicy


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the gateway runs on.

    Attributes:
        settings: From `gateway.yaml` and the flags.
        rules: From the rule files.
        warnings: What can be used, but may not be intended.
    """

    settings: Settings
    rules: Rules
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Reloaded:
    """New rules.

    Attributes:
        rules: From the rule files.
        warnings: What can be used, but may not be intended.
    """

    rules: Rules
    warnings: tuple[Diagnostic, ...] = ()


def load(path: Path | None = None, flags: Flags | None = None) -> Loaded:
    """Read `gateway.yaml` and the rules it names.

    Args:
        path: The file; None for the defaults, which need a flag for the upstream.
        flags: What the command line overrides.

    Raises:
        ConfigError: with all problems of all files.
    """
    findings = Findings()
    entries = gateway_file(path, flags or Flags(), findings)
    where: Path | None = entries.values.get("rules")
    paths: PathPolicy = entries.values.get("paths", PathPolicy())
    if where is None:
        rules = Rules(paths=paths)
    else:
        identity, doors = entries.get("identity", IdentityPolicy()), entries.get("doors", Doors())
        sources = None if identity is None or doors is None else sources_of_attributes(identity, doors)
        rules = read_rules(where, paths, entries.values.get("upstreams"), sources, findings)
        if doors and doors.by_name:
            _warn_of_unseen_ends(entries.at("doors"), rules)
    warnings = findings.result()
    return Loaded(GATEWAY.build(entries), rules, warnings)


def _warn_of_unseen_ends(doors: Node, rules: Rules) -> None:
    """Warn of what a door cannot do, because it does not see how and when a request ends."""
    if measured := sorted(name for name in rules.endpoints if rules.is_measured(name)):
        doors.warn(
            f"the cost of {', '.join(measured)} is known only from responses, which no door sees: where another proxy "
            "asks, the estimate stays charged"
        )
    if at_once := [limit.name for limit in rules.limits if limit.quota.at_once]:
        doors.warn(
            f"{', '.join(at_once)} counts requests until they end, which no door sees: where another proxy asks, it "
            "counts a request only while it is asked about"
        )


def load_settings(path: Path) -> Settings:
    """Read `gateway.yaml` without the rules it names.

    Raises:
        ConfigError: with all problems of the file.
    """
    findings = Findings()
    entries = gateway_file(path, Flags(), findings)
    findings.result()
    return GATEWAY.build(entries)


def load_rules(settings: Settings) -> Reloaded:
    """Read the rules again, for the current settings.

    Raises:
        ConfigError: with all problems of all rule files; the current rules should stay.
    """
    if settings.rules is None:
        return Reloaded(Rules(paths=settings.paths))
    findings = Findings()
    rules = read_rules(settings.rules, settings.paths, settings.upstreams, settings.attributes, findings)
    return Reloaded(rules, findings.result())
