"""The OpenAPI document says what is served, all of it, and what it says is so."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.control.openapi import document
from tests.auth.keys import token
from tests.control.running import gateway, limit

SCOPES = "check limits:read limits:write reload audit:read"


def served() -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, item in document()["paths"].items()
        for method in item
        if method != "parameters"
    }


async def test_the_document_names_every_route_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: asyncio.Future[web.Application] = asyncio.get_running_loop().create_future()
    make = web.AppRunner

    def look(app: web.Application, **options: Any) -> web.AppRunner:
        seen.set_result(app)
        return make(app, **options)

    monkeypatch.setattr(web, "AppRunner", look)
    async with gateway():
        routes = [(route.method, route.resource) for route in (await seen).router.routes()]
    assert {(method, to.canonical) for method, to in routes if to is not None and method != "HEAD"} == served()


async def test_document_and_page_are_served_to_everybody() -> None:
    async with gateway() as running:
        found = await running.call("GET", "/api/v1/openapi.json")
        page = await running.call("GET", "/api/v1/docs")
    assert found.body["openapi"] == "3.1.0"
    assert (page.status, page.type) == (200, "text/html")
    assert all(path in page.body.decode() for _, path in served())


async def test_the_page_needs_no_internet_and_runs_nothing() -> None:
    async with gateway() as running:
        page = await running.call("GET", "/api/v1/docs")
    text = page.body.decode()
    assert page.message.one(b"Content-Security-Policy").startswith(b"default-src 'none';")
    assert re.findall(r"<script|<link|<img|<iframe|@import|url\(", text) == []
    assert re.findall(r'(?:src|href)="([^"#]*)"', text) == ["openapi.json"]


async def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    """Against the live listener, with a token of all scopes; faults are what its checks call so."""
    async with gateway(limit("each", 1000), control={"state": tmp_path / "state"}) as running:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", f"http://127.0.0.1:{running.control}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {token(SCOPES)}",
            "--max-examples", "30", "--seed", "7", "--no-color", "--generation-database", "none",
            # A name of no endpoint, or a request that is none, fits the schema and is refused all the same.
            "--exclude-checks", "positive_data_acceptance",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert re.search(rb"(\d+) generated, \1 passed", said), said.decode()
