"""The JSON Schemas of the two kinds of files, which editors complete and check them by."""

import json
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from gateway.config.gateway_file import GATEWAY
from gateway.config.rulebook import RULES
from gateway.config.section import Section

FILES: Mapping[str, tuple[str, Section[Any]]] = {
    "gateway": ("gateway.yaml", GATEWAY),
    "rules": ("Rule files", RULES),
}
"""The title and the outermost section of each kind of file."""


def schema_text(kind: str) -> str:
    """The JSON Schema of a kind of file, see `FILES`."""
    title, section = FILES[kind]
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "$comment": f"Written by `gateway schema {kind}`. `gateway check` has the last word.",
        **section.schema,
    }
    return json.dumps(whole, indent=2, default=attrgetter("schema"))
