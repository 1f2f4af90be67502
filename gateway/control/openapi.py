"""`OpenApi`: the OpenAPI 3.1 document of the control plane, and a page of it without scripts."""

import json
from functools import cached_property
from importlib.resources import files
from typing import Any

import yaml
from aiohttp import web

from gateway import __version__
from gateway.control.openapi_page import page

_FILES = ("info", "check_limit", "overrides", "explain", "usage", "reload", "audit", "status")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def document() -> dict[str, Any]:
    """The whole document, merged from the files in `api`."""
    whole: dict[str, Any] = {}
    for name in _FILES:
        text = files(__package__).joinpath("api", f"{name}.yaml").read_text("utf-8")
        _merge(whole, yaml.load(text, Loader=_LOADER))  # noqa: S506 - both loaders are safe ones
    whole["info"]["version"] = __version__
    return whole


def _merge(whole: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            _merge(whole[key], value)
        else:
            whole[key] = value


class OpenApi:
    """Serves ``/api/v1/openapi.json`` and ``/api/v1/docs``; the first who asks has them made."""

    @cached_property
    def _whole(self) -> dict[str, Any]:
        return document()

    @cached_property
    def _json(self) -> bytes:
        return json.dumps(self._whole).encode()

    @cached_property
    def _page(self) -> bytes:
        return page(self._whole).encode()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/openapi.json", self._document), web.get("/api/v1/docs", self._docs)]

    async def _document(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._json, content_type="application/json")

    async def _docs(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=_POLICY)
