"""`default_state`: the folder of the audit log and the overrides, where `control.state` names none."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.settings.listener import Listener

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def default_state(control: Sequence[Listener], config: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The first of these folders that can be made and written; None if there is none.

    * `$STATE_DIRECTORY`, which systemd makes for a unit with `StateDirectory=`;
    * `gateway/ADDRESS` in `$XDG_STATE_HOME`, or else in `~/.local/state` (XDG base directories, 0.8);
    * `gateway-state/ADDRESS` next to the configuration.

    ADDRESS is that of the control listener, which no two gateways of one machine share. One on any free port has none,
    so it would find another folder, and other overrides, after each start: it has only the first.

    Args:
        control: The control listeners.
        config: The file of the settings.
        environment: The environment variables.
    """
    return next(filter(_is_usable, _candidates(control, config, environment)), None)


def _candidates(control: Sequence[Listener], config: Path | None, environment: Mapping[str, str]) -> Iterator[Path]:
    of_unit = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if of_unit.startswith("/"):
        yield Path(of_unit)
    name = next((_UNSAFE.sub("-", str(each.address)) for each in control if each.unix or each.port), None)
    if name is None:
        return
    home, state_home = environment.get("HOME", ""), environment.get("XDG_STATE_HOME", "")
    if state_home.startswith("/"):  # others are to be ignored
        yield Path(state_home, "gateway", name)
    elif home.startswith("/"):
        yield Path(home, ".local", "state", "gateway", name)
    if config is not None:
        yield config.resolve().parent / "gateway-state" / name


def _is_usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
