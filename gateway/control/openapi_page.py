"""`page`: the OpenAPI document as a page to read, whole in itself: no scripts, and nothing that is loaded."""

import json
import re
import shlex
from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}h3{font-size:1rem;margin:1.25rem 0 .25rem}"
    "code,pre{font-family:ui-monospace,monospace}pre{background:#f4f4f4;padding:.75rem;overflow:auto}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}"
)
_URL = "http://localhost:8081"
_EXAMPLES = {"user": "ana", "address": "198.51.100.7"}
"""What stands for the parameters of a path in examples."""


_EXPIRY = re.compile("2030-[0-9]{2}-[0-9]{2}T00:00:00Z")
"""The end of an override in examples."""

_TOMORROW = "'$(date -u -d +1day +%FT%TZ)'"
"""The same in a quoted body: an override may last 366 days at most, so a date would not work for long."""

_RANGES = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)


class Field(NamedTuple):
    """A member of a body.

    Attributes:
        name: With the path to it: ``changed.limits.added``, ``overrides[].user``.
        kind: What it may be, in words.
        required: Whether it is always there.
        meaning: What it is; may be empty.
    """

    name: str
    kind: str
    required: bool
    meaning: str


class Operation(NamedTuple):
    """A method of a path."""

    method: str
    path: str
    content: dict[str, Any]


def operations(whole: dict[str, Any]) -> list[Operation]:
    """All operations of a document."""
    return [
        Operation(method.upper(), path, content)
        for path, item in whole["paths"].items()
        for method, content in item.items()
        if method != "parameters"
    ]


def curl(operation: Operation) -> str:
    """A command that calls an operation, with a token in `$TOKEN` if it needs one."""
    path = operation.path
    for name, value in _EXAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    words = ["curl -s"]
    if operation.method != "GET":
        words.append(f"-X {operation.method}")
    if "security" in operation.content:
        words.append('-H "Authorization: Bearer $TOKEN"')
    for kind, content in operation.content.get("requestBody", {}).get("content", {}).items():
        example = content["example"] if kind == "text/csv" else json.dumps(content["example"])
        words += [f"-H 'Content-Type: {kind}'", f"-d {_EXPIRY.sub(_TOMORROW, shlex.quote(example))}"]
    return " \\\n  ".join([*words, f"{_URL}{path}"])


def fields(whole: dict[str, Any], schema: dict[str, Any], name: str = "", *, required: bool = True) -> Iterator[Field]:
    """All members of a body, those of objects within it after the object."""
    schema = _resolve(whole, schema)
    if name:
        yield Field(name, _kind(whole, schema), required, schema.get("description", "").strip())
    prefix = f"{name}." if name else ""
    for each, member in schema.get("properties", {}).items():
        yield from fields(whole, member, prefix + each, required=each in schema.get("required", ()))
    if schema.get("items") and (schema["items"].get("$ref") or schema["items"].get("properties")):
        for field in fields(whole, schema["items"], f"{name}[]"):
            if field.name != f"{name}[]":
                yield field


def page(whole: dict[str, Any]) -> str:
    """The document as HTML."""
    info = whole["info"]
    listed = operations(whole)
    contents = "".join(
        f'<tr><td><a href="#{each.content["operationId"]}"><code>{each.method} {escape(each.path)}</code></a>'
        f"<td>{escape(each.content['summary'])}"
        for each in listed
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"{_prose(info['description'])}<p>As a file: <code>GET /api/v1/openapi.json</code></p>"
        f"<table>{contents}</table>{''.join(_operation(whole, each) for each in listed)}</html>\n"
    )


def _operation(whole: dict[str, Any], operation: Operation) -> str:
    content = operation.content
    parameters = "".join(
        f"<tr><td><code>{escape(each['name'])}</code><td>in the {escape(each['in'])}"
        f"<td>{escape(_kind(whole, each['schema']))}<td>{escape(each['description'])}"
        for each in content.get("parameters", ())
    )
    responses = {status: _resolve(whole, response) for status, response in content["responses"].items()}
    rows = "".join(
        f"<tr><td><code>{escape(str(status))}</code><td>{escape(response['description'])}"
        for status, response in responses.items()
    )
    bodies: dict[str, list[str]] = {}
    for status, response in responses.items():
        if (schema := _json_content(response).get("schema")) is not None:
            bodies.setdefault(_body(whole, schema), []).append(str(status))
    return (
        f'<h2 id="{content["operationId"]}"><code>{operation.method} {escape(operation.path)}</code></h2>'
        f"<p><b>{escape(content['summary'])}</b></p>{_prose(content.get('description', ''))}"
        f"<pre>{escape(curl(operation))}</pre>{parameters and f'<h3>Parameters</h3><table>{parameters}</table>'}"
        f"{_titled('Body', _body(whole, _json_content(content.get('requestBody', {})).get('schema', {})))}"
        f"<h3>Responses</h3><table>{rows}</table>"
        f"{''.join(_titled('Body of ' + ', '.join(statuses), body) for body, statuses in bodies.items())}"
    )


def _titled(title: str, body: str) -> str:
    return f"<h3>{escape(title)}</h3>{body}" if body else ""


def _body(whole: dict[str, Any], schema: dict[str, Any]) -> str:
    """The table of a body's fields; one for each of several forms that it may have."""
    schema = _resolve(whole, schema)
    forms = [schema] if "properties" in schema else schema.get("oneOf", [])
    return "".join(
        f"{_prose(form.get('description', ''))}<table><tr><th>field<th>is<th><th>meaning"
        f"{''.join(_row(field) for field in fields(whole, form))}</table>"
        for form in forms
    )


def _row(field: Field) -> str:
    needed = "required" if field.required else "optional"
    return f"<tr><td><code>{escape(field.name)}</code><td>{escape(field.kind)}<td>{needed}<td>{escape(field.meaning)}"


def _kind(whole: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    schema = _resolve(whole, schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(map(json.dumps, schema["enum"]))
    kinds = schema.get("type", "any value")
    words = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kinds == "array":
        words = f"array of {_kind(whole, schema.get('items', {}))}"
    if "format" in schema:
        words += f" ({schema['format']})"
    for least, most, unit in _RANGES:
        if least in schema and most in schema:
            words += f", {schema[least]} to {schema[most]}{unit}"
        elif least in schema:
            words += f", at least {schema[least]}{unit}"
    if "examples" in schema:
        words += f", as in {' or '.join(schema['examples'])}"
    if "default" in schema:
        words += f", by default {json.dumps(schema['default'])}"
    return words


def _json_content(message: dict[str, Any]) -> dict[str, Any]:
    """The JSON body of a request or a response; empty if it has none."""
    found = (content for kind, content in message.get("content", {}).items() if kind.endswith("json"))
    return next(found, {})


def _resolve(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """A part of the document, or what it refers to."""
    while "$ref" in part:
        found: Any = whole
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def _prose(text: str) -> str:
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.strip().split("\n\n") if paragraph)
