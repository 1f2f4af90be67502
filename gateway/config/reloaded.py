"""`reloaded_files`: the files that a reload reads again. Everything else changes with a rolling restart."""

from pathlib import Path

from gateway.config.certificates import certificate_files
from gateway.config.keys import key_files
from gateway.settings.gateway import Settings


def reloaded_files(settings: Settings) -> dict[str, Path]:
    """The files and folders, by the keys of the settings that name them."""
    found = {"rules": settings.rules, "rule_tests": settings.rule_tests}
    named = {place: file for place, file in found.items() if file is not None}
    return named | certificate_files(settings) | key_files(settings)
