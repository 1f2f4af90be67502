"""`reloaded_files`: the files that a reload reads again. Everything else changes with a rolling restart."""

from hashlib import sha256
from pathlib import Path

from gateway.config.certificates import certificate_files
from gateway.config.keys import key_files
from gateway.settings.gateway import Settings


def reloaded_files(settings: Settings) -> dict[str, Path]:
    """The files and folders, by the keys of the settings that name them."""
    found = {"rules": settings.rules, "rule_tests": settings.rule_tests}
    named = {place: file for place, file in found.items() if file is not None}
    return named | certificate_files(settings) | key_files(settings)


def reloaded_digest(settings: Settings) -> str:
    """Of the contents of all these files: another digest is another content, however the files were replaced. Blocks.

    A file that cannot be read is part of it, too.
    """
    digest = sha256()
    for place, found in reloaded_files(settings).items():
        files = _yaml_files(found) if found.is_dir() else [found]
        for file in files:
            try:
                content = file.read_bytes()
            except OSError as error:
                content = f"{error.errno}".encode()
            digest.update(f"{place}\n{file.name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _yaml_files(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [file for file in found if file.suffix in {".yaml", ".yml"} and not file.name.startswith(".")]
