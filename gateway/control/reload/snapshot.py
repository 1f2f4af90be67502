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

from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.config.loader import Reloaded, load_rules
from gateway.control.reload.rule_files import RULES, TESTS, RuleFiles
from gateway.settings.gateway import Settings


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

    def take(self) -> tuple[str, RuleFiles]:
        """Copy the files. Returns the name of the copy, and what is in it.

        Raises:
            ConfigError: they cannot be read.
        """
        try:
            files = RuleFiles.read(self._settings)
        except OSError:
            load_rules(self._settings)  # which reports what is wrong, and where
            raise
        return self.write(files), files

    def write(self, files: RuleFiles) -> str:
        """Make a copy of files. Returns its name."""
        name = f"rules-{token_hex(8)}"  # a new one each time, so that a late worker cannot mistake it for the last
        copy = self._folder / name
        copy.mkdir()
        try:
            files.write(copy)
        except OSError:
            self.drop(name)
            raise
        return name

    def read(self, name: str) -> Reloaded:
        """Read a copy.

        Raises:
            ConfigError: with all problems, at their places in the files that were copied.
        """
        rules = self._path(name, RULES)
        try:
            return load_rules(replace(self._settings, rules=rules if rules.exists() else None))
        except ConfigError as error:
            raise ConfigError(self.at_source(name, each) for each in error.problems) from None

    def tests(self, name: str) -> Path | None:
        """Where the tests in a copy are; None if rules need not be tested."""
        tests = self._path(name, TESTS)
        return tests if tests.exists() or self._settings.rule_tests is not None else None

    def at_source(self, name: str, problem: Diagnostic) -> Diagnostic:
        """A problem of a copy, at its place in the file that was copied."""
        for kind, source in ((RULES, self._settings.rules), (TESTS, self._settings.rule_tests)):
            copy = str(self._path(name, kind))
            problem = replace(
                problem,
                file=problem.file.replace(copy, str(source or kind), 1),
                message=problem.message.replace(copy, str(source or kind)),
            )
        return problem

    def _path(self, name: str, kind: str) -> Path:
        folder = self._folder / name / kind
        return folder if folder.is_dir() else folder.with_suffix(".yaml")

    def drop(self, name: str) -> None:
        """Remove a copy."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def commit(self, name: str, material: str) -> str:
        """Note that a copy is in force from now on, with certificates and keys of a digest.

        Returns the time, in ISO 8601.

        The one before is kept, because a worker that starts may be about to read it. All others are removed.
        """
        before = self.in_force()
        since = self._clock()
        new = self._folder / "in-force.new"
        new.write_text(json.dumps({"name": name, "since": since, "material": material}))
        new.replace(self._folder / "in-force")
        for copy in self._folder.glob("rules-*"):
            if copy.name not in (name, before and before[0]):
                self.drop(copy.name)
        return since

    def in_force(self) -> tuple[str, str, str] | None:
        """The name of the copy in force, since when, and the digest of certificates and keys.

        None before the first reload.
        """
        try:
            noted = json.loads((self._folder / "in-force").read_text())
        except FileNotFoundError:
            return None
        return noted["name"], noted["since"], noted["material"]
