"""The JSON Schemas of the three kinds of files, which editors complete and check them by."""

import json
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from gateway.config.gateway_file import GATEWAY
from gateway.config.reader import Schema, string
from gateway.config.rule_test import RULE_TESTS
from gateway.config.rulebook import RULES
from gateway.config.section import Section
from gateway.config.variable import NAME

FILES: Mapping[str, tuple[str, Section[Any]]] = {
    "gateway": ("gateway.yaml", GATEWAY),
    "rules": ("Rule files", RULES),
    "rule_tests": ("Rule tests", RULE_TESTS),
}
"""The title and the outermost section of each kind of file."""


_VARIABLE = {"description": "The value of an environment variable.", **string(rf"\$\{{{NAME}\}}")}
_A_VARIABLE = {"$ref": "#/definitions/variable"}


def schema_text(kind: str) -> str:
    """The JSON Schema of a kind of file, see `FILES`."""
    title, section = FILES[kind]
    schema = json.loads(json.dumps(section.schema, default=attrgetter("schema")))
    if kind == "gateway":
        schema = {**_with_variables(schema), "definitions": {"variable": _VARIABLE}}
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "$comment": f"Written by `gateway schema {kind}`. `gateway check` has the last word.",
        **schema,
    }
    return json.dumps(whole, indent=2)


def _with_variables(schema: Schema) -> Schema:
    """A schema that takes a variable wherever it takes a single value."""
    if schema.get("type") == "object":
        keys = {key: _with_variables(value) for key, value in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        return (
            schema
            | ({"properties": keys} if keys else {})
            | ({"additionalProperties": _with_variables(more)} if isinstance(more, dict) else {})
        )
    if schema.get("type") == "array":
        return schema | {"items": _with_variables(schema["items"])}
    if "anyOf" in schema:
        return schema | {"anyOf": [_with_variables(each) for each in schema["anyOf"]]}
    if schema.get("minLength") == 1:  # any text
        return schema
    described = {key: value for key, value in schema.items() if key == "description"}
    rest = {key: value for key, value in schema.items() if key != "description"}
    return {**described, "anyOf": [rest, _A_VARIABLE]}
