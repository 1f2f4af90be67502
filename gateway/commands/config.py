"""The flags that `gateway serve` and `gateway check` share, and the configuration they lead to."""

import argparse
from collections.abc import Callable
from pathlib import Path

from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load


def add_config_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that override `gateway.yaml`."""
    command.add_argument("--config", metavar="FILE", type=Path, help="gateway.yaml; without it, the defaults")
    command.add_argument("--upstream", metavar="URL", help="where requests go, such as http://127.0.0.1:9000")
    command.add_argument(
        "--listen",
        metavar="HOST:PORT",
        action="append",
        help="a public listener, or unix:/PATH; repeat it for more (default 127.0.0.1:8080)",
    )
    command.add_argument(
        "--control",
        metavar="HOST:PORT",
        action="append",
        help="a listener of the control plane, likewise (default 127.0.0.1:8081)",
    )
    command.add_argument("--store", metavar="memory|redis://...", help="where buckets are kept (default memory)")
    command.add_argument("--rules", metavar="FILE", help="rules.yaml, or a folder of rule files")
    command.add_argument(
        "--workers", metavar="N", help="processes (default: one per usable processor with Redis, else one)"
    )


def load_config(options: argparse.Namespace, warn: Callable[[str], None]) -> Loaded:
    """Load the configuration that the flags describe, and print its warnings.

    Raises:
        ConfigError: it cannot be used.
    """
    flags = Flags(**{name: getattr(options, name, None) for name in Flags.__dataclass_fields__})
    loaded = load(options.config, flags)
    for warning in loaded.warnings:
        warn(f"warning: {warning}")
    return loaded
