"""The sections of a YAML file, found in the schemas of the readers."""

from collections.abc import Iterator
from typing import Any

from gateway.config.reader import Value
from gateway.config.section import Section


def sections_in(outermost: Section[Any]) -> list[Section[Any]]:
    """The section and all sections within it, each once, in the order of the keys."""
    return list(dict.fromkeys(_walk(outermost)))


def _walk(found: Any) -> Iterator[Section[Any]]:
    if isinstance(found, Section):
        yield found
        yield from _walk(list(found.keys.values()))
    elif isinstance(found, Value):
        yield from _walk(found.schema)
    elif isinstance(found, dict | list | tuple):
        for each in found.values() if isinstance(found, dict) else found:
            yield from _walk(each)
