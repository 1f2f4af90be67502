"""`RuleFiles`: the bytes of rule files and of their tests, as a reload reads them and a revision keeps them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from gateway.settings.gateway import Settings

RULES, TESTS = "rules", "tests"
_SUFFIXES = {".yaml", ".yml"}


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """Rule files and their tests.

    Attributes:
        contents: By name: ``rules.yaml`` or ``rules/NAME``, ``tests.yaml`` or ``tests/NAME``. A folder has an entry
            whose name ends in a slash, so that an empty one is kept, too.
    """

    contents: Mapping[str, bytes]

    @classmethod
    def read(cls, settings: Settings) -> "RuleFiles":
        """Those that the settings name. Blocks. Tests that are missing are left out.

        Raises:
            OSError: a file cannot be read.
        """
        contents = dict(_read(settings.rules, RULES))
        with suppress(FileNotFoundError):  # whoever runs the tests reports it, with its place
            contents |= _read(settings.rule_tests, TESTS)
        return cls(contents)

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> "RuleFiles":
        """Those of `texts`."""
        return cls({name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()})

    @property
    def texts(self) -> dict[str, str]:
        """The files as texts, for JSON."""
        return {name: content.decode("utf-8", "surrogateescape") for name, content in self.contents.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of all names and contents, in hexadecimal."""
        digest = sha256()
        for name, content in sorted(self.contents.items()):
            digest.update(f"{name}\n{len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()

    def write(self, folder: Path) -> None:
        """Write them into a folder. Blocks."""
        for name, content in self.contents.items():
            if name.endswith("/"):
                (folder / name).mkdir()
            else:
                (folder / name).write_bytes(content)


def _read(source: Path | None, name: str) -> Iterator[tuple[str, bytes]]:
    if source is None:
        return
    if not source.is_dir():
        yield f"{name}.yaml", source.read_bytes()
        return
    yield f"{name}/", b""
    for file in sorted(source.iterdir()):
        if file.suffix in _SUFFIXES and not file.name.startswith("."):
            yield f"{name}/{file.name}", file.read_bytes()
