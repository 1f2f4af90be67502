"""`OpenApi`: the OpenAPI 3.1 document of the control plane, and a page of it without scripts."""

import json
from html import escape
from importlib.resources import files
from typing import Any

import yaml
from aiohttp import web

from gateway import __version__

_FILES = ("info", "check_limit", "overrides", "usage", "reload", "audit", "status")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}code,pre{font-family:ui-monospace,monospace}"
    "pre{background:#f4f4f4;padding:.75rem;overflow:auto}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}"
)
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def document() -> dict[str, Any]:
    """The whole document, merged from the files in `api`."""
    whole: dict[str, Any] = {}
    for name in _FILES:
        text = files(__package__).joinpath("api", f"{name}.yaml").read_text("utf-8")
        _merge(whole, yaml.safe_load(text))
    whole["info"]["version"] = __version__
    return whole


def _merge(whole: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            _merge(whole[key], value)
        else:
            whole[key] = value


class OpenApi:
    """Serves ``/api/v1/openapi.json`` and ``/api/v1/docs``."""

    def __init__(self) -> None:
        whole = document()
        self._json = json.dumps(whole).encode()
        self._page = _page(whole).encode()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/openapi.json", self._document), web.get("/api/v1/docs", self._docs)]

    async def _document(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._json, content_type="application/json")

    async def _docs(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=_POLICY)


def _page(whole: dict[str, Any]) -> str:
    info = whole["info"]
    operations = [
        _operation(method, path, operation)
        for path, item in whole["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    schemas = [
        f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3>{_code(schema)}'
        for name, schema in whole["components"]["schemas"].items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"{_prose(info['description'])}"
        f'<p>As a file: <a href="openapi.json">openapi.json</a></p>{"".join(operations)}'
        f"<h2>Bodies</h2>{''.join(schemas)}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(str(status))}</code><td>{escape(_described(response))}"
        for status, response in operation["responses"].items()
    )
    parameters = "".join(
        f"<tr><td><code>{escape(each['name'])}</code><td>in {escape(each['in'])}: {escape(each['description'])}"
        for each in operation.get("parameters", ())
    )
    body = operation.get("requestBody")
    schema = _code(next(iter(body["content"].values()))["schema"]) if body else ""
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p><b>{escape(operation['summary'])}</b></p>"
        f"{_prose(operation.get('description', ''))}<table>{parameters}</table>{schema}<table>{rows}</table>"
    )


def _described(response: dict[str, Any]) -> str:
    reference = response.get("$ref", "")
    return str(response.get("description") or reference.rpartition("/")[2])


def _prose(text: str) -> str:
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.strip().split("\n\n") if paragraph)


def _code(schema: Any) -> str:
    return f"<pre>{escape(yaml.safe_dump(schema, sort_keys=False))}</pre>"
