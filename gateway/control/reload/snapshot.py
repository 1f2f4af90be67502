"""`Snapshots`: copies of the rule files, so that all workers read the same bytes.

Files may change again while workers read them one after the other. So they are copied once into the gateway's own
folder, and read from there: by every worker, and by one that is started later to replace another.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from gateway.config.diagnostic import ConfigError
from gateway.config.loader import Reloaded, load_rules
from gateway.settings.gateway import Settings

_SUFFIXES = {".yaml", ".yml"}


class Snapshots:
    """Copies of the rule files. All methods block.

    Args:
        settings: With the path of the files.
        folder: The gateway's own.
        clock: The time, in ISO 8601.
    """

    def __init__(self, settings: Settings, folder: Path, clock: Callable[[], str]) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock

    def take(self) -> str:
        """Copy the files. Returns the name of the copy; empty if no files are configured.

        Raises:
            ConfigError: they cannot be read.
        """
        source = self._settings.rules
        if source is None:
            return ""
        name = f"rules-{token_hex(8)}"  # a new one each time, so that a late worker cannot mistake it for the last
        copy = self._folder / name
        copy.mkdir()
        try:
            if not source.is_dir():
                shutil.copyfile(source, copy / "rules.yaml")
            else:
                for file in source.iterdir():
                    if file.suffix in _SUFFIXES and not file.name.startswith("."):
                        shutil.copyfile(file, copy / file.name)
        except OSError:
            self.drop(name)
            load_rules(self._settings)  # which reports what is wrong, and where
            raise
        return name

    def read(self, name: str) -> Reloaded:
        """Read a copy.

        Raises:
            ConfigError: with all problems, at their places in the files that were copied.
        """
        source = self._settings.rules
        if not name or source is None:
            return load_rules(replace(self._settings, rules=None))
        copy = self._folder / name
        where = copy if source.is_dir() else copy / "rules.yaml"
        try:
            return load_rules(replace(self._settings, rules=where))
        except ConfigError as error:
            raise ConfigError(
                replace(
                    problem,
                    file=problem.file.replace(str(where), str(source), 1),
                    message=problem.message.replace(str(where), str(source)),
                )
                for problem in error.problems
            ) from None

    def drop(self, name: str) -> None:
        """Remove a copy."""
        if name:
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def commit(self, name: str, certificates: str) -> str:
        """Note that a copy is in force from now on, with certificates of a digest. Returns the time, in ISO 8601.

        The one before is kept, because a worker that starts may be about to read it. All others are removed.
        """
        before = self.in_force()
        since = self._clock()
        new = self._folder / "in-force.new"
        new.write_text(json.dumps({"name": name, "since": since, "certificates": certificates}))
        new.replace(self._folder / "in-force")
        for copy in self._folder.glob("rules-*"):
            if copy.name not in (name, before and before[0]):
                self.drop(copy.name)
        return since

    def in_force(self) -> tuple[str, str, str] | None:
        """The name of the copy in force, since when, and the certificates' digest; None before the first reload."""
        try:
            noted = json.loads((self._folder / "in-force").read_text())
        except FileNotFoundError:
            return None
        return noted["name"], noted["since"], noted["certificates"]
