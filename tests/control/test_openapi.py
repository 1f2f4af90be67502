"""The OpenAPI document says what is served, all of it, and what it says is so."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.control.openapi import document
from gateway.control.openapi_page import operations
from tests.auth.keys import token
from tests.control.running import gateway, limit
from tests.untraced import untraced

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
    assert re.findall(r'(?:src|href)="([^"#]*)"', text) == []


@pytest.mark.untraced
async def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    """Against the live listener, with a token of all scopes; faults are what its checks call so."""
    async with gateway(limit("each", 1000), control={"state": tmp_path / "state"}) as running:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", f"http://127.0.0.1:{running.control}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {token(SCOPES)}",
            "--max-examples", "15", "--seed", "7", "--no-color", "--generation-database", "none",
            # A name of no endpoint, or a request that is none, fits the schema and is refused all the same.
            "--exclude-checks", "positive_data_acceptance",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path, env=untraced(),
        )  # fmt: skip
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert re.search(rb"(\d+) generated, \1 passed", said), said.decode()


def _texts(page: str, tag: str) -> list[str]:
    return [unescape(re.sub("<[^>]*>", "", found)) for found in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)]


def _names(schema: Any) -> Iterator[str]:
    """Every name of a member, at any depth."""
    if isinstance(schema, dict):
        properties = schema.get("properties", {})
        yield from properties
        for part in [*properties.values(), *(value for name, value in schema.items() if name != "properties")]:
            yield from _names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _names(part)


async def test_the_page_shows_every_field_of_every_body() -> None:
    async with gateway() as running:
        text = (await running.call("GET", "/api/v1/docs")).body.decode()
    shown = {re.sub(r"\[\]", "", each).rpartition(".")[2] for each in _texts(text, "code")}
    assert set(_names(document())) <= shown
    for operation in operations(document()):
        part = text.partition(f'<h2 id="{operation.content["operationId"]}">')[2].partition("<h2")[0]
        body = json.dumps(operation.content.get("requestBody", {}))
        for name in re.findall(r"schemas/(\w+)", body):
            schema = document()["components"]["schemas"][name]
            assert set(_names(schema)) <= set(_texts(part, "code")), name


async def test_every_curl_on_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """With a real token in $TOKEN. What it asks for may be missing or not fit, but is not misunderstood."""
    async with gateway(limit("each", 1000), control={"state": tmp_path / "state"}) as running:
        text = (await running.call("GET", "/api/v1/docs")).body.decode()
        commands = _texts(text, "pre")
        assert len(commands) == len(served())
        for command in commands:
            script = command.replace("curl", f"{sys.executable} -m tests.docs.curl -o /dev/null -w '%{{http_code}}'", 1)
            process = await asyncio.create_subprocess_shell(
                script.replace("localhost:8081", f"127.0.0.1:{running.control}"),
                env={**untraced(), "TOKEN": token(SCOPES)},
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await process.communicate()
            assert said in {b"200", b"201", b"204", b"404", b"409"}, (command, said)
